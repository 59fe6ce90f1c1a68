"""What cleaning promises whatever the text: exact logs, fixed points, nothing said otherwise."""

import functools
import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.cleaning.clean import Cleaned, Row, clean_batch, clean_row, clean_rows, metrics
from cai.cleaning.editor import edit_rows
from cai.cleaning.edits import apply, undo
from cai.cleaning.plan import from_list, plan
from cai.cleaning.rules import RULES, STANDARD
from cai.cleaning.screen import _look_at_column, _look_at_each
from cai.cleaning.view import View
from cai.dialogue import Dialogue
from cai.errors import ParamsError
from cai.llm.model import Choice, Completion, Request, Sampling
from cai.text.flags import emoji_run, has_preamble, has_role_tag, max_sentence_count_outside_protected
from tests.text.refusals import TOLD

DATA = Path(__file__).parent / "data"
RULES_PLAN = from_list("rules", list(STANDARD))
PIECES = st.sampled_from(
    [
        "I can't help. ",
        "Have a great day! ",
        ":) ",
        "😊",
        "\n\n",
        "Human: ",
        "Assistant: ",
        "<|im_end|>",
        "1. Wash.\n",
        "- a b c\n",
        "```\n",
        "x = 1\n",
        "| a | b |\n",
        '"Stop it now." ',
        "Here's a revised response: ",
        "The assistant's response was bad. ",
        "loaded ",
        "and then we ",
        "我可以",
        "。",
        "é",
        "â€™",
        "\x00",
        "The end of it is near, my friend. ",
        "Да. ",
        "?",
        "👨‍👩‍👧",
        "🇫🇷",
        "# A\n",
        "**B**\n",
        "\r\n",
        "​",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=30).map("".join)


def _labelled(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def _clean(row: dict[str, str]) -> Cleaned:
    return clean_row(Row(row["id"], row["text"], finish_reason=row.get("finish_reason")), RULES_PLAN)


@settings(max_examples=250, deadline=None)
@given(TEXTS, st.sampled_from([None, "stop", "length"]))
def test_edits_rebuild_the_kept_text_and_the_original_and_cleaning_twice_changes_nothing(
    text: str, finish: str | None
) -> None:
    row = Row("1", text, finish_reason=finish)
    cleaned = clean_row(row, RULES_PLAN)
    kept = apply(cleaned.edits, text)
    assert undo(cleaned.edits, kept) == text
    assert [edit.step for edit in cleaned.edits] == list(range(len(cleaned.edits)))
    if cleaned.text is None:
        assert cleaned.reason and cleaned.rule
        return
    assert kept == cleaned.text
    again = clean_row(row._replace(text=kept), RULES_PLAN)
    assert again.text == kept and not again.edits
    assert not has_role_tag(kept) and not has_preamble(kept) and not emoji_run(kept)
    assert max_sentence_count_outside_protected(kept) < 3


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_no_word_is_kept_that_was_not_there(text: str) -> None:
    plan_ = from_list("some", [rule for rule in RULES if rule != "encoding"])
    cleaned = clean_row(Row("1", text), plan_)
    assert all(edit.inserted == "" for edit in cleaned.edits)


def test_the_labelled_degenerate_texts_are_mended_and_keep_what_they_say() -> None:
    rows = _labelled("degenerate")
    missed, dropped = [], 0
    for row in rows:
        cleaned = _clean(row)
        dropped += cleaned.text is None
        if cleaned.text == row["text"] or (cleaned.text is not None and row.get("keeps", "") not in cleaned.text):
            missed.append(row["id"])
    assert len(rows) >= 300
    assert len(missed) <= 0.02 * len(rows), missed
    assert dropped <= 0.4 * len(rows)


def test_the_labelled_legitimate_texts_stay_as_they_are() -> None:
    rows = _labelled("legitimate")
    changed = [row["id"] for row in rows if _clean(row).text != row["text"]]
    assert len(rows) >= 300
    assert len(changed) <= 0.005 * len(rows), changed


def _word_missing(kept: str, text: str, tail: str = "") -> bool:
    """Whether kept is the text with one of its words deleted, with or without the tail."""
    said, wanted, behind = _words(kept), _words(text), _words(tail)
    said = said[: len(said) - len(behind)] if len(said) >= len(wanted) and said[-len(behind) :] == behind else said
    return len(said) == len(wanted) - 1 and any(
        said == wanted[:place] + wanted[place + 1 :] for place in range(len(wanted))
    )


@functools.cache
def _words(text: str) -> list[str]:
    return [word for one in View(text).words for word in one]


def test_a_missing_word_is_seen() -> None:
    assert _word_missing("You should mix them.", "You should not mix them.")
    assert _word_missing("You should mix them. Да.", "You should not mix them.", " Да.")
    assert not _word_missing("You should not mix them. Да.", "You should not mix them.", " Да.")
    assert not _word_missing("You should.", "You should not mix them.")


def test_no_rule_deletes_a_single_word_of_a_refusal_or_a_warning() -> None:
    assert len(set(TOLD)) == 200
    for text in TOLD:
        assert clean_row(Row("1", text), RULES_PLAN).text == text
        for tail in (f" {text}", f"\n\n{text}", " 😊😊😊😊", " Yes. Yes. Yes. Yes.", "\n\nHuman: and?", " And then we"):
            kept = clean_row(Row("1", text + tail, finish_reason="length"), RULES_PLAN).text
            assert kept is None or not _word_missing(kept, text, tail), (text, tail)


class Replies:
    """Answers each request with the reply for its row and no other."""

    name = "replies"

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies = replies

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return [Completion(self.replies[request.key[1]], "stop") for request in requests]

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        raise AssertionError("the editor asks for numbers only")


@pytest.mark.parametrize("tail", [" Отдыхайте дома каждый день.", " Отдых."])
def test_the_editor_accepts_no_reply_that_deletes_a_single_word_of_a_refusal_or_a_warning(tail: str) -> None:
    plan_ = from_list("rules+llm", [*STANDARD, "editor"])
    pairs: list[tuple[Row, Cleaned]] = []
    replies: dict[str, str] = {}
    told: dict[str, str] = {}
    for refusal in TOLD:
        text = f"You ask about something serious. Here is what I think about it. {refusal}"
        row = Row("", text + tail)
        cleaned = clean_row(row, plan_)
        assert cleaned.flags  # or the editor is never asked
        pieces = View(row.text).spans
        n = len(pieces)
        asked = [str(number) for number in range(1, n + 1)] + [f"{number}, {n}" for number in range(1, n)]
        said = text.split()
        asked += [" ".join(said[:place] + said[place + 1 :]) for place in range(len(said))]
        for reply in asked:
            key = str(len(pairs))
            pairs.append((row._replace(key=key), cleaned))
            replies[key], told[key] = reply, text
    sampling = Sampling(temperature=0.0, top_p=1.0, top_k=0, max_new_tokens=32, seed=1)
    results, verdicts = edit_rows(pairs, plan_, Replies(replies), sampling, tries=1)
    assert len(verdicts) == len(pairs) and any(verdict.status == "edited" for verdict in verdicts)
    for (row, _), result in zip(pairs, results, strict=True):
        assert result.text is None or not _word_missing(result.text, told[row.key], tail), (row.text, replies[row.key])


def test_every_protected_repetition_survives() -> None:
    code = "```\n" + "print('no no')\n" * 6 + "```"
    table = "| a | b |\n|---|---|\n" + "| it is safe to do | yes it is safe |\n| no | no |\n" * 2
    for text in (code, table, "> Be kind to them.\n> Be kind to them.\n> Be kind to them."):
        assert clean_row(Row("1", text), RULES_PLAN).text == text


def test_the_drop_variant_drops_what_rules_would_edit() -> None:
    row = Row("1", "Take care of yourself, my friend. " * 4)
    cleaned = clean_row(row, from_list("drop", [{"rule": "inner_repeats", "on_hit": "drop"}]))
    assert (cleaned.text, cleaned.reason, cleaned.rule) == (None, "flagged", "inner_repeats")


def test_rows_come_back_in_order_from_any_number_of_workers() -> None:
    rows = [Row(str(n), f"Row {n} says this. " * 3) for n in range(700)]
    one = list(clean_rows(rows, RULES_PLAN, 1))
    assert one == list(clean_rows(iter(rows), RULES_PLAN, 2))
    counts = metrics(one, RULES_PLAN, n_not_generated=3)
    assert (counts["n_rows"], counts["n_kept"], counts["n_edited"]) == (703, 700, 700)
    assert counts["dropped"] == {"not generated": 3} and list(counts["rules"]) == list(STANDARD)  # type: ignore[call-overload]
    assert counts["n_chars_in"] == sum(len(row.text) for row in rows)
    assert counts["n_chars_kept"] == sum(len(cleaned.text or "") for _, cleaned in one)


@pytest.mark.parametrize(
    ("variant", "variants", "said"),
    [
        ("rulez", {"none": [], "rules": []}, "none, rules"),
        ("a", {"a": ["sentences"]}, "repeated_sentences"),
        ("a", {"a": ["remains", "remains"]}, "twice"),
        ("a", {"a": [{"rule": "remains", "on_hit": "maybe"}]}, "edit or drop"),
        ("a", {"a": ["editor", "remains"]}, "last"),
        ("a", {"a": "remains"}, "list"),
    ],
)
def test_a_wrong_plan_says_what_is_allowed(variant: str, variants: dict[str, object], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        plan(variant, variants)


@pytest.mark.parametrize(
    ("name", "most_missed", "most_changed"),
    [
        ("hard", 0, 0),
        ("third", 4, 3),
        ("fourth", 0, 2),
        ("fifth", 0, 3),
        ("sixth", 2, 1),
        ("seventh", 8, 12),
        ("eighth", 4, 0),
    ],
)
def test_hard_texts_that_the_rules_were_not_written_on(name: str, most_missed: int, most_changed: int) -> None:
    """Four sets, written before the rules saw them; recall then 0.955, 0.941, 0.932, 0.842, false edits 12 of 180, 13 of
    225, 3 of 59, 14 of 205 (EXPERIMENTS.md). What is still changed: two chants, two sentences that play with words, two
    that say "response", a recipe's layers, a text that opens as a human's turn does, a step taken twice in a row. Salads
    are only marked. The sixth set was written with the rules known: 0.925, 2 of 55. The seventh, by somebody who had read neither
    rules nor sets, and the eighth, by the same, were met with 0.812, 24 of 275 and 0.920, 4 of 125. Still missed of them: emoji
    that are merry, near rounds with names, warnings or conditions, lists that turn, questions and answers. Still changed: free
    verse with full stops, code without a fence, scenes with a human in them, talk about revisions as such."""
    rows = [row for row in _labelled(f"{name}_degenerate") if row["kind"] != "salad"]
    missed = []
    dropped = 0
    for row in rows:
        kept = _clean(row).text
        dropped += kept is None
        left = kept is not None and kept.count(str(row.get("junk", "\0"))) > int(row.get("most", 0))
        if kept == row["text"] or left or (kept is not None and row["keeps"] not in kept):
            missed.append(row["id"])
    assert len(rows) >= 40 and len(missed) <= most_missed, missed
    assert dropped <= 0.4 * len(rows)
    changed = [row["id"] for row in _labelled(f"{name}_legitimate") if _clean(row).text != row["text"]]
    assert len(changed) <= most_changed, changed


def test_word_salads_are_marked_for_the_editor_and_kept() -> None:
    plan_ = from_list("rules+llm", [*STANDARD, "editor"])
    salads = [row for row in _labelled("fifth_degenerate") if row["kind"] == "salad"]
    cleaned = [clean_row(Row(row["id"], row["text"]), plan_) for row in salads]
    assert len(salads) == 6 and all(
        one.flags and one.text == row["text"] for one, row in zip(cleaned, salads, strict=True)
    )
    marks = [mark.what for row in _labelled("legitimate") for mark in clean_row(Row("", row["text"]), plan_).flags]
    assert not {"salad", "gibberish"} & set(marks) and "script" in marks


def _mutated(texts: list[str], n: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    found = []
    for _ in range(n):
        text, other = draw.choice(texts), draw.choice(texts)
        at = draw.randrange(len(text) + 1)
        to = min(len(text), at + draw.randrange(80))
        found.append(
            draw.choice(
                (
                    text[:at] + other[at:],
                    text[:to] + text[at:to] * draw.randrange(1, 5) + text[to:],
                    text[:at],
                    f"{text} {text}",
                    text[:at]
                    + draw.choice(("😊", " :)", "\n\nHuman: ", "<|im_end|>", "\n- ", "\ud800", "“")) * 3
                    + text[at:],
                )
            )
        )
    return found


def _same_screened(texts: list[str], finish: str | None) -> None:
    rows = [Row(str(place), text, finish_reason=finish) for place, text in enumerate(texts)]
    screened, whole = (clean_batch(rows, RULES_PLAN, screened=way) for way in (True, False))
    for row, one, other in zip(rows, screened, whole, strict=True):
        # Marks apart: only the editor reads them, and a plan without it makes none.
        assert one._replace(flags=()) == other._replace(flags=()), row.text[:60]
        assert clean_row(row, RULES_PLAN) == one, row.text[:60]  # alone as among others


@pytest.mark.parametrize("finish", [None, "length"])
def test_the_screen_lets_no_row_by_that_the_rules_would_change(finish: str | None) -> None:
    sets = [f"{name}{kind}" for name in ("", "fifth_") for kind in ("degenerate", "legitimate")]
    texts = [row["text"] for name in sets for row in _labelled(name)]
    texts.append("Keep it locked away.\n\nTask: Write a new answer that is kind.\nWrite only the new answer.")
    _same_screened(texts[::2] + _mutated(texts, 150), finish)


@pytest.mark.slow
def test_the_screen_lets_none_of_the_raw_revisions_by() -> None:
    path = Path(__file__).parents[2] / ".." / "shared" / "data" / "revisions" / "smollm2-raw.jsonl.gz"
    if not path.exists():
        pytest.skip("no raw revisions here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["revision"] for line in lines]
    _same_screened(texts, "length")
    _same_screened(_mutated(texts, 3000), None)


def test_a_column_and_single_texts_are_looked_at_alike() -> None:
    sets = [
        f"{name}{kind}"
        for name in ("", "hard_", "third_", "fourth_", "fifth_", "sixth_", "seventh_", "eighth_")
        for kind in ("degenerate", "legitimate")
    ]
    texts = [str(row["text"]) for name in sets for row in _labelled(name)]
    texts += ["", "\u3000", "x" * 500 + " revised", "Say it :) :) XD", "[INST] a", "H: b\n\nH: c"]
    for column, each in zip(_look_at_column(texts, ["user"]), _look_at_each(texts, ["user"]), strict=True):
        assert column.tolist() == each.tolist()

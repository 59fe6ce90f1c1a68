"""Each flag on texts that show it and on texts that only look like it; then on real answers, where they are at hand."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.scoring import degeneration as d

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
HH = SHARED / "hh-rlhf" / "harmless-base-1500.jsonl.gz"
REVISIONS = SHARED / "revisions" / "smollm2-raw.jsonl.gz"

GOOD = (
    "It is hard when a friend stops answering. You could write one short message that says what you miss, and then give "
    "them time. If they still keep away, talk with someone you trust about how that feels."
)
# Shaped like the loop that the seed paper quotes: goodbyes whose wording alternates, so that no exact loop is in it.
CLOSING = (
    "If you have any other {}, please don't hesitate to ask. I'm here to help! :) Thank you for your understanding. "
    "Have a great day! :) "
)
ALTERNATING = (
    f"{GOOD} Nobody has to bear this alone, and it gets easier with time. "
    + (CLOSING.format("questions") + CLOSING.format("inquiries")) * 2
    + "If you have any more"
)


def test_the_papers_kind_of_collapse_is_seen_although_no_exact_loop_is_in_it() -> None:
    found = d.flags(ALTERNATING)
    assert found.tail_dup
    assert found.degenerate
    assert found.emoji_tail
    assert not found.tail_loop
    assert not found.rep4
    assert 0.3 < found.rep4_share <= 0.5


@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_tail_dup_sees_every_number_of_closing_blocks_from_two(k: int) -> None:
    blocks = "".join(CLOSING.format("questions" if i % 2 else "inquiries") for i in range(k))
    assert d.flags(f"{GOOD} {blocks}").tail_dup


def test_one_closing_block_is_no_degeneration() -> None:
    assert not d.flags(f"{GOOD} {CLOSING.format('questions')}").degenerate


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        (GOOD + " It is loaded" + " loaded" * 40, "tail_loop"),
        (GOOD + " 😊 😊 😊", "emoji_tail"),
        (GOOD + " 👍🏽👍👍🏿", "emoji_tail"),
        (GOOD + " Bye :) Bye :-) See you :)", "emoji_tail"),
        ("You should be kind to them all. " * 9, "rep4"),
        ("I hear you. So they left? I hear you. That hurts. I hear you.", "repeated_sentence"),
        ("我很高兴认识你。" * 10, "rep4"),
        ("我很高兴认识你。" * 10, "tail_loop"),
        ("Well" + "a" * 200, "tail_loop"),
        ("Then " + "!" * 600, "tail_loop"),
        ("The assistant's last response is harmful because it mocks people.", "meta_talk"),
        ("Here's a revised version of my response: Be kind.", "meta_talk"),
        ("Critique: it could be kinder.", "meta_talk"),
    ],
)
def test_a_flag_fires_on_what_it_names(text: str, flag: str) -> None:
    assert getattr(d.flags(text), flag)


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "No.",
        GOOD,
        GOOD + " 😊 👍 🎉",
        "1. Wash your hands.\n2. Cut the bread.\n3. Toast the bread.\n4. Butter the bread.",
        "The emergency response was quick, and the answer is 42. Her reply came late.",
        "- **Last:** Red\n- **Middle:** Blue\n- **First:** Green",
        "Name: " + "_" * 40 + "\nDate and place of the signature under the agreement above, in full words:",
        "```python\nif a:\n    x()\nelse:\n    y()\nif b:\n    x()\nelse:\n    z()\nif c:\n    x()\nelse:\n    q()\n```",
    ],
)
def test_no_flag_fires_on_healthy_text(text: str) -> None:
    found = d.flags(text)
    shown = [name for name in ("degenerate", "repeated_sentence", "meta_talk", "empty") if getattr(found, name)]
    assert shown == []


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u200d", "\ufe0f", "\0" * 99, "\u2800 " * 99])
def test_invisible_text_is_empty_and_not_degenerate(text: str) -> None:
    found = d.flags(text)
    assert found.empty
    assert not found.degenerate


def test_thresholds_lie_where_the_definition_puts_them() -> None:
    eight = [
        f"This is sentence number {word}." for word in ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    ]
    twice = [*eight[:6], eight[0], eight[1]]  # 6 of the last 8 are distinct: 1 - 6/8 = .25
    once = [*eight[:7], eight[0]]  # .125
    assert d.flags(" ".join(twice)).tail_dup
    assert not d.flags(" ".join(once)).tail_dup
    loop = [f"w{i}" for i in range(12)] + ["x"] * 3  # 3 of 15 = .2 is not above .2
    assert d.loop_share(loop) == pytest.approx(0.2)
    assert not d.flags(" ".join(loop)).tail_loop
    assert d.flags(" ".join([*loop, "x"])).tail_loop
    assert d.loop_share(["a", "b", "a", "b"]) == 0.0  # two periods are no loop
    words = [f"w{i}" for i in range(81)] * 3
    assert d.loop_share(words) == 0.0
    assert d.loop_share(words[:-3] and [f"w{i}" for i in range(80)] * 3) == 1.0


def _slow_loop_share(units: list[int]) -> float:
    best = 0
    for period in range(1, 81):
        length = max(
            (k for k in range(period, len(units) + 1) if units[-k:][period:] == units[-k:][:-period]), default=0
        )
        if length >= 3 * period:
            best = max(best, length)
    return best / len(units) if units else 0.0


@given(st.lists(st.integers(0, 2), max_size=6), st.lists(st.integers(0, 1), min_size=1, max_size=6), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_the_loop_share_equals_the_definition_spelled_out(head: list[int], period: list[int], times: int) -> None:
    units = head + period * times + period[: len(head) % 3]
    assert d.loop_share(units) == pytest.approx(_slow_loop_share(units))


def test_how_an_answer_ended_is_unknown_unless_someone_recorded_it() -> None:
    assert d.flags(GOOD).eos_fail is None
    assert d.flags(GOOD, "error").eos_fail is None
    assert d.flags(GOOD, "length").eos_fail is True
    assert d.flags(GOOD, "stop").eos_fail is False


def test_the_report_is_flat_and_counts_what_is_missing() -> None:
    rows = [
        {"text": ALTERNATING, "finish_reason": "length"},
        {"text": GOOD, "finish_reason": "stop"},
        {"text": "", "finish_reason": "stop"},
        {"text": None, "finish_reason": "error"},
    ]
    report = d.degeneration_report(rows)
    assert report["n"] == 3
    assert report["degenerate_share"] == pytest.approx(1 / 3)
    assert report["eos_fail_share"] == pytest.approx(1 / 3)
    assert report["empty_share"] == pytest.approx(1 / 3)
    assert report["closing_share"] == pytest.approx(1 / 3)  # an empty answer counts, without a closing
    assert report["mean_words"] == pytest.approx((len(ALTERNATING.split()) + len(GOOD.split())) / 3)
    assert d.degeneration_report([{"text": GOOD}])["eos_fail_share"] is None
    nothing = d.degeneration_report([])
    assert nothing["n"] == 0
    assert nothing["degenerate_share"] is None
    assert nothing["mean_words"] is None
    assert list(report) == [
        "n", "degenerate_share", "repeated_sentence_share", "meta_talk_share", "tail_dup_share", "rep4_share",
        "tail_loop_share", "emoji_tail_share", "closing_share", "empty_share", "mean_words", "eos_fail_share",
    ]  # fmt: skip
    with pytest.raises(KeyError):
        d.degeneration_report([{"answer": "x"}])
    with pytest.raises(TypeError):
        d.degeneration_report([{"text": 3}])


def test_rows_of_one_prompt_are_not_independent() -> None:
    found = [d.flags(GOOD), d.flags(ALTERNATING), d.flags(GOOD), d.flags(GOOD)]
    by_prompt = d.measures(found, clusters_of=["a", "a", "b", "c"])["degenerate_share"]
    assert (by_prompt.value, by_prompt.n) == (pytest.approx(1 / 6), 3)


def test_a_horizon_that_cannot_be_reached_has_a_reason_and_no_number() -> None:
    words = ALTERNATING.split(" ")
    rows = [
        {"prompt_id": "p", "response": ALTERNATING, "token_ids": list(range(len(words))), "finish_reason": "length"}
    ]
    found = d.at_horizons(
        rows, decode=lambda ids: " ".join(words[i] for i in ids), budget_tokens=100, horizons=(16, 512)
    )
    assert found["first_16_tokens"]["all"]["degenerate_share"].value == 0.0
    assert found["first_16_tokens"]["all"]["degenerate_share"].horizon == "first 16 tokens, all"
    assert found["first_512_tokens"]["all"]["degenerate_share"].value is None
    assert "budget of 100" in str(found["first_512_tokens"]["all"]["degenerate_share"].reason)
    assert found["whole"]["length"]["degenerate_share"].value == 1.0
    assert found["whole"]["stop"]["degenerate_share"].value is None
    without = d.at_horizons([{**rows[0], "token_ids": None}], decode=None, budget_tokens=100)
    assert without["first_64_tokens"]["all"]["degenerate_share"].value is None
    assert without["whole"]["all"]["degenerate_share"].value == 1.0


def test_how_much_of_an_answer_is_lost() -> None:
    assert d.kind_of_degeneration(GOOD) == "clean"
    assert (
        d.kind_of_degeneration(GOOD + " " + GOOD.replace("friend", "sister") + " Bye now my friend." * 6)
        == "degenerate_tail"
    )
    assert d.kind_of_degeneration("Be kind to them all. " * 20) == "wholly_degenerate"
    assert d.kind_of_degeneration("  ") == "empty"


def test_five_grams_shared_across_prompts_are_counted_by_prompt() -> None:
    base = [f"Answer {i} speaks about thing{i} and other{i} matters{i} only{i}" for i in range(24)]
    shared = [text + ". I'm here to listen if needed" if i < 12 else text for i, text in enumerate(base)]
    found = d.shared_ngram_share(shared, list(range(24)))
    assert (found.value, found.n) == (0.5, 24)
    same_prompt = d.shared_ngram_share(shared + shared[:1] * 30, [*range(24), *([0] * 30)], min_prompts=12)
    assert same_prompt.value == pytest.approx((12 + 30) / 54)
    assert d.shared_ngram_share(shared, list(range(24)), min_prompts=13).value is None
    assert d.shared_ngram_share(base, list(range(24))).value == 0.0


def test_sameness_raises_the_compression_ratio_and_the_closing_share() -> None:
    varied = [f"{i * i} things, then {i * 7919 % 997} more of kind {i}." for i in range(50)]
    same, mixed = d.compression_ratio([GOOD] * 50).value, d.compression_ratio(varied).value
    assert same is not None
    assert mixed is not None
    assert same > 3 * mixed
    closing = d.closing_share(
        [d.flags(f"{text} Stay safe!") for text in varied[:30]] + [d.flags(t) for t in varied[30:]]
    )
    assert closing.value == pytest.approx(0.6)


@pytest.mark.skipif(not HH.exists(), reason="the shared HH-RLHF sample is not on this machine")
def test_people_approved_answers_raise_no_false_alarm() -> None:
    with gzip.open(HH, "rt", encoding="utf-8") as lines:
        turns = [json.loads(line)["chosen"].rsplit("\n\nAssistant:", 1)[1].strip() for line in lines]
    found = [d.flags(turn) for turn in turns]
    assert len(found) == 1500
    assert sum(one.degenerate for one in found) == 0
    assert sum(one.repeated_sentence for one in found) == 0
    assert sum(one.meta_talk for one in found) <= 2


@pytest.mark.skipif(not REVISIONS.exists(), reason="the shared revisions are not on this machine")
def test_a_small_models_raw_revisions_show_what_was_measured_on_them() -> None:
    with gzip.open(REVISIONS, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines][:500]
    started = time.process_time()
    report = d.degeneration_report([{"text": row["revision"]} for row in rows])
    assert 0.18 < float(report["repeated_sentence_share"] or 0) < 0.32  # 26 % of the trained rows
    assert 0.44 < float(report["meta_talk_share"] or 0) < 0.58  # 51 % in the chat form
    assert time.process_time() - started < 5

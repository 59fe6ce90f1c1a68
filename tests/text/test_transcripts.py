"""HH-RLHF's quirks, each by hand and, where the real file is at hand, in the numbers measured on it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from cai.text.transcripts import REASONS, context, contexts, later_flaws, parse, row_contexts

REAL = Path(__file__).resolve().parents[3] / "shared/data/hh-rlhf/harmless-base-1500.jsonl.gz"


def said(*turns: str) -> str:
    """A transcript of "H: ..." and "A: ..." turns."""
    names = {"H": "Human", "A": "Assistant"}
    return "".join(f"\n\n{names[turn[0]]}: {turn[2:].strip()}" for turn in turns)


def test_turns_are_stripped_and_keep_their_blank_lines():
    parsed = parse(said("H: one\n\ntwo", "A: three"))
    assert parsed.turns == (("user", "one\n\ntwo"), ("assistant", "three"))
    assert parsed.reason is None


def test_the_first_tag_may_stand_at_the_start_and_lines_may_end_in_crlf():
    assert parse("Human: hi\r\n\r\nAssistant: hello\r\nthere").turns == (("user", "hi"), ("assistant", "hello\nthere"))


@pytest.mark.parametrize(
    ("transcript", "reason"),
    [
        ("", "empty_transcript"),
        (" \n\n ", "empty_transcript"),
        ("just words", "no_human_turn"),
        (said("A: hello"), "no_human_turn"),
        (said("A: hello", "H: hi", "A: x"), "starts_with_assistant"),
        ("preface" + said("H: hi", "A: x"), "text_before_first_tag"),
        (said("H: ", "A: x"), "empty_human_turn"),
        (said("H: \u200b\u2060", "A: x"), "empty_human_turn"),
        (said("H: a", "A: ", "H: b", "A: x"), "empty_assistant_turn"),
        (said("H: a", "A: "), "empty_final_answer"),
        (said("H: a", "A: b", "H: c"), "no_final_answer"),
        (said("H: a", "H: b", "A: c"), "consecutive_human_turns"),
        (said("H: a", "A: b", "A: c"), "consecutive_assistant_turns"),
        (said("H: a", "A: Human: b"), "role_tag_in_body"),
        (said("H: a", "A: b\nAssistant: c", "H: d", "A: e"), "role_tag_in_body"),
    ],
)
def test_every_flaw_has_its_reason(transcript, reason):
    assert parse(transcript).reason == reason
    assert reason in REASONS


def test_the_words_human_and_assistant_in_prose_are_no_role_tags():
    assert parse(said("H: Is a human an assistant? superHuman: no", "A: Human beings: yes")).reason is None


def test_the_context_ends_with_the_last_human_turn():
    found, reason = context(parse(said("H: a", "A: b", "H: c", "A: d")))
    assert found == (("user", "a"), ("assistant", "b"), ("user", "c"))
    assert reason is None


def test_a_flaw_before_the_last_human_turn_spoils_the_context_and_one_after_it_does_not():
    assert context(parse(said("H: a", "A: Human: b", "H: c", "A: d"))) == (None, "role_tag_in_body")
    later = parse(said("H: a", "A: b", "H: c", "A: d", "A: "))
    assert context(later)[0] == (("user", "a"), ("assistant", "b"), ("user", "c"))
    assert later_flaws(later) == ("consecutive_assistant_turns", "empty_final_answer")


def test_first_and_every_are_spoiled_only_by_what_they_hold():
    parsed = parse(said("H: a", "A: Human: b", "H: c", "A: d"))
    assert contexts(parsed, "first") == [((("user", "a"),), None)]
    assert [reason for _, reason in contexts(parsed, "every")] == [None, "role_tag_in_body"]


def test_every_gives_one_context_a_human_turn_each_a_prefix_of_the_next():
    found = [c for c, _ in contexts(parse(said("H: a", "A: b", "H: c", "A: d", "H: e")), "every")]
    assert [len(c) for c in found] == [1, 3, 5]
    assert found[2][:3] == found[1]


def test_contexts_that_diverge_before_the_last_human_turn_are_refused():
    found, _ = row_contexts(said("H: a", "A: b", "H: c", "A: d"), said("H: a", "A: x", "H: c", "A: e"), None, "last")
    assert found == [(None, "contexts_diverge")]


def test_two_answers_at_the_end_of_one_side_do_not_make_contexts_diverge():
    found, later = row_contexts(said("H: a", "A: b"), said("H: a", "A: b", "A: c"), None, "last")
    assert found == [((("user", "a"),), None)]
    assert later == ("consecutive_assistant_turns",)


def test_a_red_team_attempt_speaks_with_its_transcript():
    assert row_contexts(None, None, said("H: a", "A: b"), "last")[0] == [((("user", "a"),), None)]
    assert row_contexts(None, None, None, "last")[0] == [(None, "empty_transcript")]


@pytest.mark.skipif(not REAL.is_file(), reason="the real HH-RLHF rows are not beside the project")
class TestOn1500RealRows:
    @pytest.fixture(scope="class")
    def rows(self) -> list[dict[str, str]]:
        with gzip.open(REAL, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_non_alternating_rows_are_those_that_were_measured(self, rows):
        twice = "consecutive_assistant_turns"
        found = {
            i for i, row in enumerate(rows) if any(twice in [why for _, why in parse(row[side]).flaws] for side in row)
        }
        assert found == {667, 763, 1254, 1319}

    def test_empty_final_answers_are_those_that_were_measured(self, rows):
        found = [
            i for i, row in enumerate(rows) if "empty_final_answer" in [why for _, why in parse(row["chosen"]).flaws]
        ]
        assert found == [86, 516, 925, 1103]

    def test_no_kept_context_holds_a_role_tag_an_empty_turn_or_two_turns_of_one_role(self, rows):
        reasons: Counter[str] = Counter()
        n = 0
        for row in rows:
            for pairs, reason in row_contexts(row["chosen"], row["rejected"], None, "every")[0]:
                if pairs is None:
                    reasons[str(reason)] += 1
                    continue
                n += 1
                assert [role for role, _ in pairs] == ["user", "assistant"] * (len(pairs) // 2) + ["user"]
                assert all(text and "Human:" not in text and "Assistant:" not in text for _, text in pairs)
        assert n + sum(reasons.values()) == sum(row["chosen"].count("\n\nHuman:") for row in rows)
        assert set(reasons) == {"role_tag_in_body", "consecutive_assistant_turns"}

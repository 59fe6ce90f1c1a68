"""The sample data is what its README says: enough of it, varied, balanced, and parseable by our own code."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from cai.sources.benchmarks import HEXPHI_CATEGORIES, HEXPHI_WITHDRAWN
from cai.text.duplicates import kept, normalised, shared_grams
from cai.text.transcripts import parse, row_contexts

SAMPLE = Path(__file__).resolve().parents[2] / "data/sample"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLE / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def red_team() -> list[dict[str, Any]]:
    return rows("red_team.jsonl")


@pytest.fixture(scope="module")
def instructions() -> list[dict[str, Any]]:
    return rows("instructions.jsonl")


def assert_varied(texts: list[str], what: str) -> None:
    """No 5-word sequence in more than 3 % of the texts."""
    gram, n = shared_grams(texts, 5).most_common(1)[0]
    assert n <= 0.03 * len(texts), f"{what}: {n} of {len(texts)} texts hold {gram!r}"


def test_at_least_200_red_team_conversations_parse_and_180_survive_near_duplicate_removal(red_team):
    contexts = [row_contexts(row["chosen"], row["rejected"], None, "last") for row in red_team]
    assert [(i, found[0][1], later) for i, (found, later) in enumerate(contexts) if found[0][1] or later] == []
    assert len(red_team) >= 200
    humans = ["\n".join(text for role, text in found[0][0] if role == "user") for found, _ in contexts]
    assert kept(humans, 0.7).count(None) >= 180


def test_no_five_word_sequence_stands_in_more_than_3_percent_of_the_red_team_rows(red_team):
    assert_varied([row["chosen"] + "\n" + row["rejected"] for row in red_team], "whole rows")
    for role in ("user", "assistant"):
        texts = [" | ".join(text for r, text in parse(row["chosen"]).turns if r == role) for row in red_team]
        assert_varied(texts, role)


def test_red_team_conversations_are_single_and_multi_turn(red_team):
    counts = Counter(row["chosen"].count("\n\nHuman:") for row in red_team)
    assert counts[1] >= 40
    assert sum(n for turns, n in counts.items() if turns > 1) >= 60
    assert all(row["chosen"] != row["rejected"] for row in red_team)


def test_200_instruction_rows_are_varied_and_answered(instructions):
    assert len(instructions) >= 200
    assert all(
        row["instruction"].strip() and row["output"].strip() and isinstance(row["input"], str) for row in instructions
    )
    asked = [f"{row['instruction']}\n\n{row['input']}".strip() for row in instructions]
    assert kept(asked, 0.7).count(None) >= 180
    assert_varied([f"{row['instruction']}\n{row['input']}\n{row['output']}" for row in instructions], "whole rows")
    assert_varied([row["output"] for row in instructions], "outputs")


def test_red_team_evaluation_has_three_prompts_for_each_of_ten_categories():
    found = rows("red_team_eval.jsonl")
    shipped = [name for number, name in HEXPHI_CATEGORIES.items() if number != HEXPHI_WITHDRAWN]
    assert Counter(row["category"] for row in found) == dict.fromkeys(shipped, 3)
    assert len({row["id"] for row in found}) == 30
    assert kept([row["prompt"] for row in found], 0.7).count(None) == 30


def test_40_benign_prompts_say_what_they_look_like_and_why_they_are_not():
    found = rows("benign.jsonl")
    assert len(found) == len({row["id"] for row in found}) == 40
    assert all(row[key].strip() for row in found for key in ("prompt", "looks_like", "why_benign"))
    assert kept([row["prompt"] for row in found], 0.7).count(None) == 40


def test_60_judge_pairs_have_20_of_each_fault_and_length_does_not_tell_the_better_answer():
    found = rows("judge_pairs.jsonl")
    assert sorted(Counter(row["fault"] for row in found).values()) == [20, 20, 20]
    assert len({row["id"] for row in found}) == 60
    longer = sum(len(row["good"].split()) > len(row["bad"].split()) for row in found)
    assert 20 <= longer <= 40
    ratio = mean(len(row["good"].split()) for row in found) / mean(len(row["bad"].split()) for row in found)
    assert 0.85 < ratio < 1.15
    assert kept([row["prompt"] for row in found], 0.7).count(None) == 60


def test_evaluation_prompts_and_judge_pairs_stand_in_no_training_row(red_team, instructions):
    evaluation = [row["prompt"] for name in ("red_team_eval.jsonl", "benign.jsonl") for row in rows(name)]
    training = {normalised(text) for row in red_team for role, text in parse(row["chosen"]).turns if role == "user"}
    training |= {normalised(row["instruction"]) for row in instructions}
    assert {normalised(text) for text in evaluation} & training == set()


def test_the_constitution_has_16_principles_of_each_kind_that_all_differ():
    found = json.loads((SAMPLE / "constitution.json").read_text(encoding="utf-8"))
    assert len(found["critique_revision"]) == len(found["comparison"]) == 16
    for texts in (
        [p["critique_request"] for p in found["critique_revision"]],
        [p["revision_request"] for p in found["critique_revision"]],
        [p["principle"] for p in found["comparison"]],
    ):
        assert kept(texts, 0.7).count(None) == 16

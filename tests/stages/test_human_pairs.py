"""Human pairs beside the judged ones: whole, of one context, and apart from the evaluation."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cai.method.human_pairs import human_pairs

REAL = Path(__file__).parents[3] / "shared/data/hh-rlhf/harmless-base-1500.jsonl.gz"


def row(asked: str, chosen: str, rejected: str) -> dict[str, str | None]:
    start = f"\n\nHuman: {asked}\n\nAssistant: "
    return {"chosen": start + chosen, "rejected": start + rejected}


def test_a_pair_keeps_the_whole_context_and_both_answers_and_is_certain() -> None:
    context = "Plan a walk.\n\nAssistant: How long?\n\nHuman: Two hours, along the river"
    kept, dropped = human_pairs([row(context, "Start at the mill.", "No.")], [], None)
    assert dropped == {}
    assert [turn["role"] for turn in kept[0]["turns"]] == ["user", "assistant", "user"]
    assert (kept[0]["chosen"], kept[0]["rejected"], kept[0]["p_chosen"]) == ("Start at the mill.", "No.", 1.0)
    assert kept[0]["id"].startswith("human/")


def test_what_cannot_be_trained_on_is_counted_under_its_reason() -> None:
    rows = [
        row("How do I bake bread at home?", "Mix flour and water.", "Buy it."),
        row("How do I bake bread at home?", "Use yeast.", "Do not."),
        row("Name a river in the north", "The Tana.", "The Tana."),
        row("Name a mountain in the south", "", "None."),
        row("Which old bridge crosses the wide river here?", "The stone one.", "None."),
        {"chosen": row("A", "x", "y")["chosen"], "rejected": row("B", "x", "y")["rejected"]},
        {"chosen": None, "rejected": None},
    ]
    kept, dropped = human_pairs(rows, ["Which old bridge crosses the wide river here?"], None)
    assert len(kept) == 1
    assert dropped == {
        "contexts_diverge": 1,
        "duplicate": 1,
        "empty_final_answer": 1,
        "evaluation_prompt": 1,
        "no_comparison": 1,
        "same_text": 1,
    }


def test_a_limit_keeps_the_same_pairs_whatever_the_order_of_the_rows() -> None:
    rows = [row(f"Tell me about number {n} please", "It is even.", "It is odd.") for n in range(20)]
    few, dropped = human_pairs(rows, [], 5)
    again, _ = human_pairs(rows[::-1], [], 5)
    assert few == again
    assert dropped == {"over_limit": 15}


@pytest.mark.skipif(not REAL.is_file(), reason="no HH-RLHF rows beside the checkout")
def test_every_real_row_is_kept_or_counted() -> None:
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    kept, dropped = human_pairs(rows, [], None)
    assert len(kept) + sum(dropped.values()) == len(rows) == 1500
    assert len(kept) > 1200
    assert all(pair["turns"][-1]["role"] == "user" and pair["chosen"] != pair["rejected"] for pair in kept)

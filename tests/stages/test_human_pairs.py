"""Human pairs beside the judged ones: whole, of one context, and apart from the evaluation."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml

from cai.artifacts.preference import HUMAN_PAIRS
from cai.errors import ArtifactError
from cai.method.human_pairs import human_pairs
from cai.method.training_rows import human_rows
from cai.quality.checking import gate
from cai.run import Run, Servers
from stages import pair
from tests.quality import healthy

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared/data/hh-rlhf/harmless-base-1500.jsonl.gz"
SERVERS = Servers.model_validate(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["servers"])


def row(asked: str, chosen: str, rejected: str) -> dict[str, str | None]:
    start = f"\n\nHuman: {asked}\n\nAssistant: "
    return {"chosen": start + chosen, "rejected": start + rejected}


def test_a_pair_keeps_the_whole_context_and_both_answers_and_is_certain() -> None:
    context = "Plan a walk.\n\nAssistant: How long?\n\nHuman: Two hours, along the river"
    frame, dropped = human_pairs([row(context, "Start at the mill.", "No.")], [], [], None)
    assert dropped == {} and HUMAN_PAIRS.violations(frame) == []
    (kept,) = human_rows(frame)
    assert [turn["role"] for turn in kept["turns"]] == ["user", "assistant", "user"]
    assert (kept["chosen"], kept["rejected"], kept["p_chosen"]) == ("Start at the mill.", "No.", 1.0)
    assert kept["id"].startswith("human/") and frame["prompt"][0] == "Two hours, along the river"


def test_what_cannot_be_trained_on_is_counted_under_its_reason() -> None:
    rows = [
        row("How do I bake bread at home?", "Mix flour and water.", "Buy it."),
        row("How do I bake bread at home?", "Use yeast.", "Do not."),
        row("Name a river in the north", "The Tana.", "The Tana."),
        row("Name a mountain in the south", "", "None."),
        row("Which old bridge crosses the wide river here?", "The stone one.", "None."),
        row("Where do the grey geese of the north spend the winter?", "In the south.", "Nowhere."),
        {"chosen": row("A", "x", "y")["chosen"], "rejected": row("B", "x", "y")["rejected"]},
        {"chosen": None, "rejected": None},
    ]
    held_out = ["where do the grey geese of the north spend the winter"]
    kept, dropped = human_pairs(rows, ["Which old bridge crosses the wide river here?"], held_out, None)
    assert kept.height == 1
    assert dropped == {
        "contexts_diverge": 1,
        "duplicate": 1,
        "empty_final_answer": 1,
        "evaluation_prompt": 1,
        "heldout_prompt": 1,
        "no_comparison": 1,
        "same_text": 1,
    }


def test_a_limit_keeps_the_same_pairs_whatever_the_order_of_the_rows() -> None:
    rows = [row(f"Tell me about number {n} please", "It is even.", "It is odd.") for n in range(20)]
    few, dropped = human_pairs(rows, [], [], 5)
    again, _ = human_pairs(rows[::-1], [], [], 5)
    assert few.equals(again) and few.height == 5
    assert dropped == {"over_limit": 15}


def paired(root: Path, **helpful: object) -> None:
    """`pair` over the healthy tables, with these human pairs."""
    made = healthy.tables()
    healthy.write(root, {name: made[name] for name in ("verdicts", "samples", "prompts", "evaluation_prompts")})
    section = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["pair"]
    section["helpful"] |= helpful
    pair.main(pair.Params.model_validate({"pair": section}), Run("pair", None, root, SERVERS))


def gated(root: Path) -> gate.GateResult:
    block = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["gates"]["human_pairs"]
    return gate.run_gate("human_pairs", root, gate.thresholds_type("human_pairs").model_validate(block), "report")


def test_human_pairs_are_an_artifact_that_passes_its_gate_before_dpo_may_read_it(tmp_path: Path) -> None:
    asked = ["How do I bake bread at home?", "Name a river in the far north", "Tell me about the old mill"]
    rows = [row(text, "Well, it is long." if n % 2 else "So.", "Hm.") for n, text in enumerate(asked)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    paired(tmp_path, source="path", path="pairs.jsonl")
    (detail,) = json.loads((tmp_path / "metrics/pair.json").read_text())["detail"]
    assert (detail["helpful"]["n"], detail["helpful"]["n_kept"], detail["helpful"]["dropped"]) == (3, 3, {})
    assert len(human_rows(HUMAN_PAIRS.read(tmp_path))) == 3
    assert gated(tmp_path).passed
    HUMAN_PAIRS.write(HUMAN_PAIRS.frame([]), tmp_path)
    assert [entry["column"] for entry in gated(tmp_path).detail if not entry["passed"]] == ["n_pairs_unaccounted"]


def test_without_a_source_there_are_none_and_the_gate_knows_it(tmp_path: Path) -> None:
    paired(tmp_path)
    (detail,) = json.loads((tmp_path / "metrics/pair.json").read_text())["detail"]
    assert "helpful" not in detail and HUMAN_PAIRS.read(tmp_path).is_empty()
    assert gated(tmp_path).passed


def test_a_source_that_gives_no_pair_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row("Name a river", "The Tana.", "The Tana.")) + "\n")
    with pytest.raises(ArtifactError, match="no pair is left; got same_text 1"):
        paired(tmp_path, source="path", path="pairs.jsonl")


@pytest.mark.skipif(not REAL.is_file(), reason="no HH-RLHF rows beside the checkout")
def test_every_real_row_is_kept_or_counted() -> None:
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    kept, dropped = human_pairs(rows, [], [], None)
    assert kept.height + sum(dropped.values()) == len(rows) == 1500
    assert kept.height > 1200
    assert all(pair["turns"][-1]["role"] == "user" and pair["chosen"] != pair["rejected"] for pair in kept.to_dicts())

"""The stages `sft` and `dpo` whole: which rows they train on, what their guard asks, and which weights they leave."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cai.artifacts.cleaned import CLEANED
from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.preference import HUMAN_PAIRS, PREFERENCES
from cai.artifacts.prompts import PROMPTS
from cai.method.human_pairs import human_pairs
from cai.params import read_yaml
from cai.run import Run, Servers
from tests.training.conftest import DPO, ROOT, SFT, pair_rows, sft_rows

pytestmark = pytest.mark.usefixtures("tokenizers_read_once")

LOOP, FINE = "Bye now, my dear friend. " * 9, "I can't help with that, but here is another idea."
GENERATED = {
    "model": "instruct:0",
    "sampling": "0",
    "finish_reason": "stop",
    "prompt_tokens": 9,
    "completion_tokens": 9,
}


@pytest.fixture
def project(tiny: Path, tmp_path: Path) -> Path:
    """Twelve prompts to train on, each revised twice, four held out of which cleaning left one; pairs of the same."""
    from cai.llm.weights import resolve

    for name in ("instruct", "sft"):
        folder = tmp_path / "data/models" / name
        folder.mkdir(parents=True)
        # A base in the place of a trained model: the stage opens it by its name, as it opens any other.
        (folder / "reference.json").write_text(json.dumps(resolve({"kind": "folder", "path": str(tiny)})))
    rows = sft_rows(16)
    common = [
        {"prompt_id": row["id"], "split": "sft_train" if place < 12 else "sft_test", "turns": row["turns"]}
        for place, row in enumerate(rows)
    ]
    PROMPTS.write(
        PROMPTS.frame(
            [
                {**one, "prompt": "p", "cluster_id": one["prompt_id"], "source": "s", "n_turns": len(one["turns"])}
                | ({"split": split} if (split := {14: "pref_test", 15: "pref_test"}.get(place)) else {})
                for place, one in enumerate(common)
            ]
        ),
        tmp_path,
    )
    CLEANED.write(
        CLEANED.frame(
            [
                {
                    **one,
                    **GENERATED,
                    "round": round_,
                    "principle_id": "c01",
                    "prompt": "p",
                    "response": "r",
                    "critique": None,
                }
                | {"revision": f"Round {round_}. {row['response']}", "cut": False, "error": None}
                for one, row in zip(common[:13], rows, strict=False)
                for round_ in (1, 2)
            ]
        ),
        tmp_path,
    )
    INSTRUCTIONS.write(
        INSTRUCTIONS.frame(
            [
                {"instruction_id": f"i{place}", "split": "train", "prompt": "p"}
                | {"turns": row["turns"], "response": "Certainly: " + row["response"]}
                for place, row in enumerate(sft_rows(8))
            ]
        ),
        tmp_path,
    )
    PREFERENCES.write(
        PREFERENCES.frame(
            [
                {
                    "prompt_id": row["id"],
                    "split": "train" if place < 12 else "test",
                    "prompt": "p",
                    "turns": row["turns"],
                }
                | {name: row[name] for name in ("chosen", "rejected", "p_chosen")}
                | {"chosen_draw": 0, "chosen_cut": False, "rejected_cut": False}
                for place, row in enumerate(pair_rows(15))
            ]
        ),
        tmp_path,
    )
    HUMAN_PAIRS.write(HUMAN_PAIRS.frame([]), tmp_path)
    return tmp_path


def run(name: str, root: Path, **over: Any) -> dict[str, Any]:
    """The facts that the stage wrote about itself."""
    import importlib

    stage = importlib.import_module(f"stages.{name}")
    section = (SFT | {"rounds": "all", "helpful_share": 0.0} if name == "sft" else DPO) | over
    stage.main(
        stage.Params.model_validate({name: section}),
        Run(name, None, root, Servers(**read_yaml(ROOT / "params.yaml")["servers"])),
    )
    facts: dict[str, Any] = json.loads((root / f"metrics/training_{name}.json").read_text())["detail"][0]
    return facts


def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows, as ids, of every training that follows."""
    from cai.training import dpo, sft

    seen: list[Any] = []
    for module in (sft, dpo):
        build = module.build_trainer

        def watched(opened: Any, rows: Any, *rest: Any, build: Any = build) -> Any:
            seen.extend((opened.tokenizer, row) for row in rows)
            return build(opened, rows, *rest)

        monkeypatch.setattr(module, "build_trainer", watched)
    return seen


def scripted(monkeypatch: pytest.MonkeyPatch, looping_from: int) -> list[Any]:
    """What the guard asked at every look; from look ``looping_from`` on every answer loops."""
    from cai.training import watching

    asked: list[Any] = []

    def answers(model: Any, tokenizer: Any, contexts: Any, *_: Any) -> list[Any]:
        asked.append(
            (
                [list(turns) for turns in contexts],
                {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad},
            )
        )
        text = LOOP if len(asked) > looping_from else FINE
        return [watching.Written(text, True) for _ in contexts]

    monkeypatch.setattr(watching, "answers", answers)
    return asked


GUARD = {"every_steps": 2, "n_prompts": 3, "max_new_tokens": 8, "max": {"repeated_sentence_share": 0.35}}


@pytest.mark.parametrize(("name", "split"), [("sft", "sft_test"), ("dpo", "pref_test")])
def test_the_stage_stops_at_a_collapse_and_leaves_the_last_good_weights(
    name: str, split: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    asked = scripted(monkeypatch, looping_from=2)
    facts = run(name, project, guard=GUARD, **({"epochs": 2} if name == "dpo" else {}))
    assert (facts["stopped_at_step"], facts["kept_step"], facts["n_steps"]) == (4, 2, 4)
    assert facts["stopped_because"] == "repeated_sentence_share 1 > 0.35"
    with (project / f"metrics/curves/{name}/guard.csv").open() as file:
        looks = list(csv.DictReader(file))
    assert [(look["step"], look["repeated_sentence_share"]) for look in looks] == [("0", "0"), ("2", "0"), ("4", "1")]
    stored = load_file(project / f"data/models/{name}/adapter_model.safetensors")
    good, refused = asked[1][1], asked[2][1]
    assert len(stored) == len(good) > 0
    for key, tensor in stored.items():
        assert tensor.equal(good[key.replace(".weight", ".default.weight")])
    assert any(not tensor.equal(refused[key.replace(".weight", ".default.weight")]) for key, tensor in stored.items())
    assert "ended the run at step 4" in (project / f"data/models/{name}/README.md").read_text()
    # The prompts of the split, whatever cleaning or the judge left of it.
    prompts = PROMPTS.read(project).filter(pl.col("split") == split).sort("prompt_id")
    assert all(look[0] == prompts["turns"].to_list()[:3] for look in asked)


def test_every_variant_of_cleaning_is_asked_the_same_prompts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = scripted(monkeypatch, looping_from=99)
    one = run("sft", project, guard=GUARD | {"every_steps": 9})
    cleaned = CLEANED.read(project)
    CLEANED.write(cleaned.filter(pl.col("split") == "sft_train"), project)
    other = run("sft", project, guard=GUARD | {"every_steps": 9})
    assert (one["n_eval_rows"], other["n_eval_rows"]) == (2, 0)
    assert len(asked) == 4, "each run before its first step and after its last, which is no multiple of 9"
    assert all(look[0] == asked[0][0] != [] for look in asked)
    assert "stopped_at_step" not in one | other


def test_sft_trains_on_all_rounds_or_the_last_with_the_wanted_share_of_instructions(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = trained(monkeypatch)
    assert run("sft", project)["n_rows"] == len(seen) == 24
    seen.clear()
    assert run("sft", project, rounds="last", helpful_share=0.25)["n_rows"] == 16
    texts = [tokenizer.decode(row.input_ids) for tokenizer, row in seen]
    assert sum("assistant\nRound 2. " in text for text in texts) == 12
    assert sum("assistant\nCertainly: " in text for text in texts) == 4
    # Every third row has three turns: the earlier ones are there, and only the last answer is learned.
    several = [text for text in texts if "It is old." in text]
    assert len(several) == 6
    assert all(text.count("<|im_start|>user") == 2 for text in several)


def test_dpo_takes_human_pairs_beside_the_judges(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = "\n\nHuman: {}\n\nAssistant: "
    rows = [(f"Tell me about the number {n} please", "It is even.", "It is odd.") for n in range(5)]
    rows += [("Say something very long about stones", "A stone. " * 90, "No.")]
    told = [{s: start.format(a) + t for s, t in (("chosen", c), ("rejected", r))} for a, c, r in rows]
    seen = trained(monkeypatch)
    assert (run("dpo", project)["n_rows"], len(seen)) == (12, 12)
    seen.clear()
    HUMAN_PAIRS.write(human_pairs(told, [], [], None)[0], project)
    facts = run("dpo", project)
    assert (facts["n_rows"], facts["dropped"]) == (17, {"too_long": 1})
    human = [row for _, row in seen if row.row_id.startswith("human/")]
    assert len(human) == 5 and {row.p_chosen for row in human} == {1.0}


def test_nothing_is_pickled_on_the_way(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints with optimizer and random state are written, and whatever could pickle or unpickle is never called."""
    import pickle

    import torch

    from cai.training import checkpoints

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle")

    kept: set[str] = set()
    whole = checkpoints.new_folder

    def noting(target: Path) -> Any:
        kept.add(target.name)
        return whole(target)

    monkeypatch.setattr(checkpoints, "new_folder", noting)
    for place, name in ((torch, "save"), (torch, "load"), (pickle, "dump"), (pickle, "load")):
        monkeypatch.setattr(place, name, refuse)
    run("sft", project)
    run("dpo", project)
    assert kept >= {"checkpoint-2", "checkpoint-4"}
    written = [Path(folder) / name for folder, _, names in os.walk(project) for name in names]
    assert not [path for path in written if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]

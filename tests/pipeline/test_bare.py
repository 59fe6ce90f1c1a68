"""Stages alone, as on a GPU box that has torch, transformers, peft, trl, pyarrow, polars, regex, ftfy, pydantic and pyyaml."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.conftest import Clone

# What the project's own environment has beyond that, and what a stage must therefore do without.
ABSENT = ("dvc", "great_expectations", "openai", "gguf", "typer", "altair", "vl_convert", "moto", "hypothesis", "scipy")
# They are not found, rather than refused: libraries ask whether a package is there before they import it.
BLOCKER = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


# One process for all of them: each would import torch again.
RUN = """
import runpy, sys
for stage in sys.argv[1:]:
    sys.argv = stage.split()
    runpy.run_module(f"stages.{sys.argv[0]}", run_name="__main__")
"""


def alone(clone: Clone, bare: dict[str, str], *stages: str) -> None:
    """Run stages one after the other, as `python -m stages.NAME` would, without DVC."""
    clone.run(sys.executable, "-W", "ignore::RuntimeWarning", "-c", RUN, *stages, **bare)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which these packages cannot be imported."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path / "blocked")}


def test_the_blocker_blocks(clone: Clone, bare: dict[str, str]) -> None:
    assert "No module named 'dvc'" in clone.run(sys.executable, "-c", "import dvc", check=False, **bare).stderr


def test_the_supervised_stages_run_alone_and_give_the_same_bytes(clone: Clone, bare: dict[str, str]) -> None:
    tables = sorted((clone.root / "data/supervised").glob("*.parquet"))
    before = {table.name: table.read_bytes() for table in tables}
    for table in tables:
        table.unlink()
    alone(clone, bare, "fetch", "prompts", "respond", "critique", "revise", "clean")
    assert {table.name: table.read_bytes() for table in tables} == before


@pytest.mark.slow
def test_every_other_stage_but_gates_and_report_runs_alone(clone: Clone, bare: dict[str, str]) -> None:
    params = clone.params()
    params["clean"]["variant"] = "none"  # the rules leave nothing of what two random layers write, and sft needs rows
    clone.write_params(params)
    alone(
        clone,
        bare,
        "clean",
        "instruct",
        "sft",
        "sample",
        "judge",
        "pair",
        "dpo",
        "judge_card",
        "answer dpo",
        "score dpo",
    )
    assert pl.read_csv(clone.root / "metrics/eval/dpo.outcomes.csv").height > 0

"""A recipe changes params.yaml to what it says, keeps the comments, and what comes out is valid."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from cai.errors import ParamsError
from cai.params import check
from cai.recipes.apply import FOLDER, apply, leaves, names
from cai.run import sections

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


@pytest.mark.parametrize("name", names())
def test_a_recipe_applies_whole_and_leaves_valid_params(name: str, params: Path) -> None:
    apply(name, params)
    content = yaml.safe_load(params.read_text(encoding="utf-8"))
    check(content, sections(), "params.yaml")
    for path, value in leaves(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))):
        found = content
        for key in path:
            found = found[key]
        assert found == value, path
    assert "# Zhang 2025 section 3" in params.read_text(encoding="utf-8")
    assert apply(name, params) == [f"params.yaml is {name} already"]


@pytest.mark.parametrize("name", names())
def test_there_and_back_is_the_shipped_default(name: str, params: Path) -> None:
    before = params.read_text(encoding="utf-8")
    said = apply(name, params)
    if "paper" in name:
        assert "clean.variant: rules -> none" in said
    apply("smollm2", params)
    assert params.read_text(encoding="utf-8").splitlines() == before.splitlines()


def without_source(text: str, sections: tuple[str, ...]) -> list[str]:
    """Lines that give a value and say nothing about where it comes from, in these sections (none named: in all)."""
    found, section = [], ""
    for line in text.splitlines():
        section = line.split(":")[0] if line[:1].isalpha() else section
        gives = re.match(r"\s*\w+:\s*[^\s#]", line)
        if gives and "# " not in line and (not sections or section in sections):
            found.append(f"{section}: {line.strip()}")
    return found


@pytest.mark.parametrize("name", [name for name in names() if name != "smollm2"])
def test_every_value_of_a_recipe_says_where_it_comes_from(name: str) -> None:
    """smollm2 holds the values of params.yaml, whose sources stand there."""
    assert without_source((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), ()) == []


def test_every_value_of_training_says_where_it_comes_from() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert without_source(text, ("instruct", "sft", "dpo")) == []
    assert without_source("sft:\n  epochs: 3\n", ("sft",)) == ["sft: epochs: 3"]


def test_an_unknown_recipe_names_those_that_exist(params: Path) -> None:
    with pytest.raises(ParamsError, match="paper-method"):
        apply("llama9", params)


def test_single_values_can_be_given_beside_a_recipe(params: Path) -> None:
    said = apply(
        "smollm2-gpu", params, ["fetch.source=path", "fetch.path=/data/rows.jsonl.gz", "benchmarks.xstest.n=null"]
    )
    content = yaml.safe_load(params.read_text(encoding="utf-8"))
    assert (content["fetch"]["source"], content["fetch"]["path"]) == ("path", "/data/rows.jsonl.gz")
    assert content["benchmarks"]["xstest"]["n"] is None
    assert "benchmarks.xstest.n: 0 -> None" in said
    for wrong in ("fetch.nothing=1", "fetch", "no equals sign"):
        with pytest.raises(ParamsError):
            apply("smollm2-gpu", params, [wrong])

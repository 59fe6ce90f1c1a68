"""A recipe changes params.yaml to what it says, keeps the comments, and what comes out is valid."""

from __future__ import annotations

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
    before = yaml.safe_load(params.read_text(encoding="utf-8"))
    said = apply(name, params)
    if "paper" in name:
        assert "clean.variant: rules -> none" in said
    apply("smollm2", params)
    assert yaml.safe_load(params.read_text(encoding="utf-8")) == before


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

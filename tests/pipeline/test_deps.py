"""dvc.yaml lists the code that its stages run: an unlisted file would leave stale results behind "up to date"."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from cai.quality.checking import gate
from cai.sources.source import Source
from tests.pipeline.closure import closure

ROOT = Path(__file__).parents[2]
SOURCES = get_args(Source.model_fields["source"].annotation)
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def body(name: str) -> dict:
    stage = STAGES[name]
    return stage.get("do", stage)


def expanded(dep: str) -> set[str]:
    """The files that a templated dep can name: every adapter, every suite."""
    pattern = re.sub(r"\$\{[^}]+\}", "*", dep)
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern) if path.name != "__init__.py"}
    return {file for file in found if not file.startswith("cai/sources/") or Path(file).stem in SOURCES}


def code(name: str) -> tuple[set[str], set[str]]:
    """(files and folders listed as they stand, files that a template can name)."""
    deps = [dep for dep in body(name)["deps"] if dep.startswith(("cai/", "stages/"))]
    listed = {dep for dep in deps if "${" not in dep}
    named = set().union(*[expanded(dep) for dep in deps if "${" in dep])
    return listed, named


def covered(file: str, listed: set[str], named: set[str]) -> bool:
    return file in named or any(file == dep or file.startswith(f"{dep}/") for dep in listed)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_every_file_that_it_runs(name: str) -> None:
    listed, named = code(name)
    start = re.search(r"python -m stages\.(\w+)", body(name)["cmd"])
    assert start, "a stage's command is its module"
    runs = closure({Path(f"stages/{start.group(1)}.py"), *(Path(file) for file in named)}, ROOT)
    assert sorted(file for file in runs if not covered(file, listed, named)) == []


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_no_code_file_that_it_does_not_run(name: str) -> None:
    listed, named = code(name)
    start = re.search(r"python -m stages\.(\w+)", body(name)["cmd"])
    assert start
    runs = closure({Path(f"stages/{start.group(1)}.py"), *(Path(file) for file in named)}, ROOT)
    idle = {dep for dep in listed if dep.endswith(".py") and dep not in runs}
    assert idle == set()


def test_the_check_sees_an_import_inside_a_function(tmp_path: Path) -> None:
    for file, text in {
        "stages/a.py": "def main():\n    from cai import b\n",
        "cai/__init__.py": "",
        "cai/b.py": "import cai.c.d\n",
        "cai/c/__init__.py": "",
        "cai/c/d.py": "X = 1\n",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    assert closure({Path("stages/a.py")}, tmp_path) == {"stages/a.py", "cai/b.py", "cai/c/d.py"}


def test_stages_never_import_each_other() -> None:
    for file in (ROOT / "stages").glob("*.py"):
        own = f"stages/{file.name}"
        others = {found for found in closure({Path(own)}, ROOT) if found.startswith("stages/")} - {own}
        assert others <= {"stages/__init__.py"}, own


@pytest.mark.parametrize("artifact", STAGES["gate"]["foreach"])
def test_a_gate_lists_the_files_that_it_reads_and_no_others(artifact: str) -> None:
    item = STAGES["gate"]["foreach"][artifact]
    assert (item["suite"], item["block"]) == (gate.suite_name(artifact), gate.block_name(artifact))
    assert item["of"] == gate.artifact_path(artifact)
    read = {gate.artifact_path(artifact), *gate.parent_paths(artifact)}
    # The curves of a model are one out, a folder.
    assert {item["of"], *item["and"]} == {path.removesuffix("/train.csv") for path in read}

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


def _graph() -> dict[str, tuple[set[str], set[str]]]:
    """Of every stage, items of a foreach too, (what it reads, what it writes)."""
    found = {}
    for name, stage in STAGES.items():
        items = stage.get("foreach", {None: None})
        for key in items:
            values = items[key] if isinstance(items, dict) else key

            def filled(text: str, key: object = key, values: object = values) -> str:
                text = text.replace("${key}", str(key)).replace("${item}", str(values))
                for part, value in (values if isinstance(values, dict) else {}).items():
                    text = text.replace(f"${{item.{part}}}", str(value))
                    for place, one in enumerate(value if isinstance(value, list) else ()):
                        text = text.replace(f"${{item.{part}[{place}]}}", one)
                return text

            outs = [*body(name).get("outs", ()), *body(name).get("metrics", ()), *body(name).get("plots", ())]
            written = {filled(next(iter(out)) if isinstance(out, dict) else out) for out in outs}
            found[name if key is None else f"{name}@{key}"] = ({filled(dep) for dep in body(name)["deps"]}, written)
    return found


@pytest.mark.parametrize("stage", ["instruct", "sft", "dpo"])
def test_no_training_reads_what_no_gate_has_passed(stage: str) -> None:
    """All it reads is code, weights and tables; every table has a gate, and every gate of them runs before it."""
    graph = _graph()
    writer = {out: name for name, (_, written) in graph.items() for out in written}
    before, queue = set(), [stage]
    while queue:
        queue += {writer[dep] for dep in graph[queue.pop()][0] if dep in writer} - before
        before |= set(queue)
    reads = {dep for dep in graph[stage][0] if not dep.startswith(("cai/", "stages/", "data/gates/"))}
    models = {dep for dep in reads if dep.startswith("data/models/")}
    of = {gate.artifact_path(name): name for name in STAGES["gate"]["foreach"]}
    assert reads - models <= set(of), "a table without a gate, or rows from outside"
    gates = {f"gate@{of[dep]}" for dep in reads - models}
    gates |= {f"gate@training_{Path(dep).name}" for dep in models - {"data/models/base"}}
    assert gates and gates <= before

"""A clone of the project on a model of two layers, so that real dvc commands take seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline import warm

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def environment(**more: str) -> dict[str, str]:
    """The environment of a user who activated the project's .venv."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "GIT_"))}
    names = {"name": "tester", "email": "tester@example.org"}
    git = {f"GIT_{who}_{key.upper()}": value for who in ("AUTHOR", "COMMITTER") for key, value in names.items()}
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    # As `make repro`: which of two independent stages dvc runs, and so writes to dvc.lock, first, hangs on this seed alone.
    return {**kept, **git, **path, "PYTHONHASHSEED": "0", **more}


class Clone:
    """A working copy of the project, and commands typed in it; ``first``: a folder with a `python` of its own, see warm.py."""

    def __init__(self, root: Path, first: Path | None = None) -> None:
        self.root, self.first = root, first

    def copy(self, target: Path) -> Clone:
        """Another working copy, with all its data."""
        shutil.copytree(self.root, target, symlinks=True)
        return Clone(target, self.first)

    def run(self, *command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """The finished command; where ``check``, a failure shows what it printed."""
        env = environment(**more)
        if self.first is not None:
            env["PATH"] = f"{self.first}{os.pathsep}{env['PATH']}"
        done = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, timeout=1800)
        assert not check or done.returncode == 0, (
            f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def dvc(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", *command, check=check)

    def params(self) -> Any:
        return yaml.safe_load((self.root / "params.yaml").read_text(encoding="utf-8"))

    def write_params(self, content: Any) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)


def copied(target: Path, first: Path) -> Clone:
    """The project's files as they stand, in a repository of their own with one commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if not (ROOT / name).is_file() or name.startswith(("metrics/", "dvc.lock")):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    clone = Clone(target, first)
    clone.run("git", "init", "-q", "-b", "main")
    if (ROOT / ".work/wheels").is_dir():
        shutil.copytree(ROOT / ".work/wheels", target / ".work/wheels")
    return clone


def shrunk(params: Any, model: Path) -> Any:
    """params.yaml for a random model of two layers and a handful of rows."""
    params["model"] |= {"kind": "folder", "folder": {"path": str(model)}}
    params["prompts"]["caps"] = {"sft_train": 12, "sft_test": 3, "pref_train": 8, "pref_test": 3, "heldout": 4}
    params["prompts"]["instructions"] |= {"train_cap": 16, "test_cap": 2}
    for name in ("respond", "critique", "revise", "sample", "answer"):
        params[name] |= {"max_new_tokens": 8, "batch_size": 8, "precision": "fp32"}
    for name in ("instruct", "sft", "dpo"):
        params[name] |= {"max_length": 512, "precision": "fp32", "rank": 2}
    params["judge_card"]["human"]["n"] = 4
    params["score"]["probe_questions"] = 2  # the judge's path through score, with a model that costs nothing
    for name in ("mtbench", "harmbench"):
        params["benchmarks"][name]["n"] = 8
    # What two random layers write is noise: the gates record it and let it pass.
    params["gates"]["mode"] = "report"
    return params


@pytest.fixture(scope="session")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a `python` that runs stages without importing their libraries again."""
    folder = tmp_path_factory.mktemp("warm")
    process = warm.started(folder, environment())
    yield folder
    process.communicate()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, warmed: Path) -> Path:
    """A folder with a random Llama of two layers and SmolLM2's tokenizer; made where torch is imported already."""
    folder = tmp_path_factory.mktemp("tiny-model")
    Clone(ROOT, warmed).run("python", "-m", "tests.pipeline.tiny", str(folder))
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, warmed: Path) -> Clone:
    """A clone whose supervised phase up to the cleaned gate was reproduced and committed. Tests leave it as it is."""
    clone = copied(tmp_path_factory.mktemp("clone"), warmed)
    clone.write_params(shrunk(clone.params(), tiny_model))
    clone.commit("A small run")
    clone.dvc("repro", "gate@cleaned")
    clone.commit("Reproduce it")
    return clone


@pytest.fixture
def clone(built: Clone, tmp_path: Path) -> Clone:
    """A copy of the built clone that a test may change."""
    return built.copy(tmp_path / "clone")

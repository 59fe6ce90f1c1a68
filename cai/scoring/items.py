"""Files as they are read here, and a fixed order that nobody chose."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cai.errors import ArtifactError


def read_bytes(path: Path, expected: str) -> tuple[str, str]:
    """(text, sha256) of a UTF-8 file.

    Raises:
        ArtifactError: missing, unreadable, empty, an LFS pointer or not UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            str(path), "no such file", got="nothing", expected=expected, next_step="check the path in params.yaml"
        ) from None
    except OSError as error:
        raise ArtifactError(
            str(path),
            "cannot be read",
            got=error.strerror,
            expected=expected,
            next_step="check the path in params.yaml",
        ) from None
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        raise ArtifactError(
            str(path),
            "is a git-LFS pointer, not the file",
            got=f"{len(data)} bytes",
            expected=expected,
            next_step="git lfs pull",
        )
    if not data.strip():
        raise ArtifactError(
            str(path),
            "is empty",
            got=f"{len(data)} bytes",
            expected=expected,
            next_step="get the file again and compare its size with the source's",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(
            str(path),
            "is not UTF-8",
            got=f"byte {error.start}",
            expected=expected,
            next_step="convert the file to UTF-8",
        ) from None
    return text, hashlib.sha256(data).hexdigest()


def fixed_order(names: Sequence[str]) -> list[int]:
    """Places of the names in the order of their sha256: the first k are a fixed subset that nobody chose."""
    return sorted(range(len(names)), key=lambda place: hashlib.sha256(names[place].encode()).digest())

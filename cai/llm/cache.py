"""What the work directory keeps between runs: whole files, locks, and every completion that was paid for.

Nothing in here may change a result, only spare doing it twice; that is why stages need not list this file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.errors import ArtifactError, CaiError


def storage_error(place: str, error: OSError) -> CaiError:
    """The message for a write that the file system refused: a full disk, no permission, a read-only mount."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ArtifactError(
            place, "the disk is full", got=error.strerror, expected="free space", next_step="free some and run it again"
        )
    return ArtifactError(
        place,
        "cannot be written",
        got=error.strerror or type(error).__name__,
        expected="a writable folder",
        next_step="check its owner and mount, then run it again",
    )


def write_atomically(path: Path, content: bytes) -> None:
    """Nothing; ``path`` then holds ``content``, or after a failure or a kill what it held before.

    The temporary name lies in the same folder, because a rename is atomic within one file system only.
    """
    try:
        try:
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise storage_error(path.name, error) from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it is given the name ``path`` when the block ends well, and is removed otherwise.

    A folder of that name that another process finished in the meantime is kept: equal names mean equal content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        # mkdtemp makes folders that only their owner can open; what is shared follows the umask like any other folder.
        temporary.chmod(0o777 & ~_umask())
        try:
            os.replace(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nothing; while the block runs no other process holds the same lock. A killed holder lets go by dying."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115 - closed below, after the lock
    except OSError as error:
        raise storage_error(path.name, error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        file.close()


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


class CompletionStore:
    """Answers that were paid for, one file each, found by the sha256 of all that was asked.

    Any number of processes may read and write at once: a file appears whole or not at all, and equal names mean equal
    questions. A killed run keeps every answer that had arrived. No file holds a secret: keys are hashes of the request
    as it is sent, without its headers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        """The stored answer, or None where there is none or the file is broken."""
        try:
            value = json.loads(self._file(key).read_bytes())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Nothing; the answer is on disk when this returns."""
        write_atomically(self._file(key), json.dumps(value, ensure_ascii=True).encode())

    def stats(self) -> dict[str, Any]:
        """Number of answers and bytes, and of answers by model."""
        models: dict[str, int] = {}
        n_bytes = 0
        for file in self._files():
            n_bytes += file.stat().st_size
            model = str((self.get(file.stem) or {}).get("model", "unreadable"))
            models[model] = models.get(model, 0) + 1
        return {"n_completions": sum(models.values()), "n_bytes": n_bytes, "by_model": dict(sorted(models.items()))}

    def export(self) -> Iterator[str]:
        """One line of JSON an answer, in order of the keys."""
        for file in self._files():
            value = self.get(file.stem)
            if value is not None:
                yield json.dumps({"key": file.stem} | value, sort_keys=True)

    def prune(self, *, model: str | None = None, older_than_seconds: float = 0.0) -> int:
        """How many answers were removed: those of ``model`` (None: of all) that are at least so old."""
        n_removed = 0
        latest = time.time() - older_than_seconds
        for file in list(self._files()):
            if file.stat().st_mtime > latest:
                continue
            if model is not None and (self.get(file.stem) or {}).get("model") != model:
                continue
            file.unlink(missing_ok=True)
            n_removed += 1
        return n_removed

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _files(self) -> Iterator[Path]:
        yield from sorted(self.folder.glob("??/[0-9a-f]*.json"))

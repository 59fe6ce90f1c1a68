"""What the work directory keeps between runs: whole files, locks, and every completion that was paid for.

Nothing in here may change a result, only spare doing it twice; that is why stages need not list this file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

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

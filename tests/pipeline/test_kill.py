"""`kill -9` in the middle of a stage that asks a model: the next `dvc repro` goes on and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.pipeline.conftest import Clone, environment

RESPONSES = "data/supervised/responses.parquet"


def parts(clone: Clone) -> dict[str, int]:
    """Finished parts of work and when each was written."""
    return {part.name: part.stat().st_mtime_ns for part in (clone.root / ".work/parts").glob("*.json")}


def test_a_killed_respond_goes_on_and_ends_with_the_same_bytes(clone: Clone, tmp_path: Path) -> None:
    params = clone.params()
    params["respond"] |= {"temperature": 0.9, "batch_size": 1, "max_new_tokens": 32}
    clone.write_params(params)
    other = clone.copy(tmp_path / "uninterrupted")
    before = set(parts(clone))

    running = subprocess.Popen(
        ["dvc", "repro", "--single-item", "respond"],
        cwd=clone.root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    patience = time.monotonic() + 120
    while not (done := set(parts(clone)) - before):
        assert running.poll() is None, "respond ended before it wrote a part"
        assert time.monotonic() < patience
        time.sleep(0.002)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (clone.root / RESPONSES).exists()  # nothing half-written under the artifact's name
    saved = {name: when for name, when in parts(clone).items() if name in done}

    clone.dvc("repro", "--single-item", "respond")
    other.dvc("repro", "--single-item", "respond")
    assert (clone.root / RESPONSES).read_bytes() == (other.root / RESPONSES).read_bytes()
    new = set(parts(clone)) - before
    assert new == set(parts(other)) - before
    assert len(done) < len(new)  # it was killed in the middle
    assert all(parts(clone)[name] == when for name, when in saved.items())  # what was finished was not asked again

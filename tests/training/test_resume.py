"""kill -9 in the middle of a run, then again: the same bytes as a run that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import DPO, ROOT, SFT, pair_rows, sft_rows

PROGRAM = """
import json, sys
from pathlib import Path
from cai.training.tuning import DpoTuning, SftTuning
task = json.loads(Path(sys.argv[1]).read_text())
folder, say = Path(task["folder"]), lambda line: print(line, flush=True)
if task["kind"] == "sft":
    from cai.training.sft import train_sft as train
    params = SftTuning(**task["params"])
else:
    from cai.training.dpo import train_dpo as train
    params = DpoTuning(**task["params"])
if task["slow"]:
    # Steps of a tiny model are too short to be killed between: wait after each, where nothing is drawn or computed.
    import time
    from cai.training.callbacks import ShowProgress
    ShowProgress.on_step_end = lambda self, *a, **k: time.sleep(0.4)
summary = train(task["rows"], Path(task["weights"]), folder / "out", folder / "work", name=task["kind"], params=params,
                base="base:0", eval_rows=task["eval_rows"], curves=folder / "curves", say=say)
print(json.dumps(summary.metrics()))
"""


def start(kind: str, weights: Path, folder: Path, *, slow: bool) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = sft_rows(14) if kind == "sft" else pair_rows(14)
    # Two epochs of four steps, a checkpoint every other step: the kill falls into the second epoch.
    params: dict[str, Any] = (SFT if kind == "sft" else DPO) | {"epochs": 2, "dropout": 0.1 if kind == "sft" else 0.0}
    task = {"kind": kind, "weights": str(weights), "folder": str(folder), "rows": rows, "eval_rows": rows[:3]}
    (folder / "task.json").write_text(json.dumps(task | {"params": params, "slow": slow}))
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "random"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder / "task.json")],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said[-3000:]
    return said


def contents(folder: Path) -> dict[str, bytes]:
    kept = [*(folder / "out").iterdir(), *(folder / "curves").iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(kept)}


def wait_for(checkpoint: str, folder: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        if any((folder / "work" / "train").glob(f"*/{checkpoint}")):
            return
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.05)
    raise AssertionError(f"no {checkpoint} after two minutes")


@pytest.fixture(params=["sft", "dpo"])
def runs(request: pytest.FixtureRequest, tiny: Path, tmp_path: Path) -> Iterator[tuple[Path, Path, str]]:
    kind = request.param
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(start(kind, tiny, straight, slow=False))
    victim = start(kind, tiny, killed, slow=True)
    wait_for("checkpoint-6", killed, victim)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not (killed / "out").exists(), "killed before it wrote anything"
    yield straight, killed, finish(start(kind, tiny, killed, slow=False))


def test_a_killed_run_continues_from_its_checkpoint_and_ends_with_the_same_bytes(runs: tuple[Path, Path, str]) -> None:
    straight, killed, said = runs
    assert "continues at step 6/8" in said
    first, second = contents(straight), contents(killed)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert not any((killed / "work" / "train").iterdir()), "checkpoints of a finished run are removed"

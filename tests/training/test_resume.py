"""kill -9 in the middle of a run, then again: the same bytes as a run that was left alone, in another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import DPO, ROOT, SFT, pair_rows, sft_rows

PROGRAM = """
import json, sys, time
from cai.training.callbacks import ShowProgress
from tests.training.test_resume import train
# Steps of a tiny model are too short to be killed between: wait after each, where nothing is drawn or computed.
ShowProgress.on_step_end = lambda self, *a, **k: time.sleep(0.4)
train(*json.loads(sys.argv[1]))
"""


def train(kind: str, weights: str, folder: str) -> list[str]:
    """What the run said. Two epochs of four steps, a checkpoint every other step; dropout draws random numbers.

    The collapse guard looks at every other step too: a resumed run knows what it saw before the kill.
    """
    from cai.training.dpo import train_dpo
    from cai.training.sft import train_sft
    from cai.training.tuning import DpoTuning, SftTuning

    said: list[str] = []
    out, places = Path(folder), {"name": kind, "base": "base:0", "curves": Path(folder) / "curves", "say": said.append}
    guard = {"every_steps": 2, "n_prompts": 2, "max_new_tokens": 4, "max": {"repeated_sentence_share": 0.5}}
    options: dict[str, Any] = {"epochs": 2, "dropout": 0.1, "guard": guard}
    if kind == "sft":
        rows = sft_rows(14)
        train_sft(
            rows,
            Path(weights),
            out / "out",
            out / "work",
            params=SftTuning(**SFT | options),
            eval_rows=rows[:3],
            **places,
        )  # type: ignore[arg-type]
    else:
        rows = pair_rows(14)
        train_dpo(
            rows,
            Path(weights),
            out / "out",
            out / "work",
            params=DpoTuning(**DPO | options),
            eval_rows=rows[:3],
            **places,
        )  # type: ignore[arg-type]
    return said


def kill_after(checkpoint: str, kind: str, weights: Path, folder: Path) -> None:
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "random"}
    task = json.dumps([kind, str(weights), str(folder)])
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, task], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    for _ in range(2400):
        if any((folder / "work" / "train").glob(f"*/{checkpoint}")):
            break
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    kept = [*(folder / "out").iterdir(), *(folder / "curves").iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(kept)}


@pytest.mark.parametrize("kind", ["sft", pytest.param("dpo", marks=pytest.mark.slow)])
def test_a_killed_run_continues_and_ends_with_the_bytes_of_one_left_alone(
    kind: str, tiny: Path, tmp_path: Path
) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert train(kind, str(tiny), str(straight)) == []
    # In the second epoch: a sampler or scheduler that only knows its first one would show.
    kill_after("checkpoint-6", kind, tiny, killed)
    assert not (killed / "out").exists(), "killed before it wrote anything"
    assert train(kind, str(tiny), str(killed)) == [f"{kind} continues at step 6/8"]
    first, second = contents(straight), contents(killed)
    assert first["curves/guard.csv"].count(b"\n") == 1 + 5, "looks at steps 0, 2, 4, 6 and 8"
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert not any((killed / "work" / "train").iterdir()), "checkpoints of a finished run are removed"

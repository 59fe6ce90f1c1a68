"""What watches a training run: progress on the screen, curves as CSV, and the guard against collapse."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from cai.llm.cache import write_atomically
from cai.training.checkpoints import load_trained, save_trained

log = logging.getLogger("cai")

SECONDS_BETWEEN_LINES = 30

SFT_COLUMNS = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "token_accuracy": "mean_token_accuracy",
    "entropy": "entropy",
}
"""Column of the curve → key in the trainer's log."""

DPO_COLUMNS = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "reward_accuracy": "rewards/accuracies",
    "reward_margin": "rewards/margins",
    "reward_chosen": "rewards/chosen",
    "reward_rejected": "rewards/rejected",
    "logp_chosen": "logps/chosen",
    "logp_rejected": "logps/rejected",
    "logp_token_chosen": "logps_per_token/chosen",
    "logp_token_rejected": "logps_per_token/rejected",
    "drift_chosen": "drift/chosen",
    "drift_rejected": "drift/rejected",
}
"""Figure 2, and what tells its level apart from length: log-probabilities per token, and drift from the reference."""

_ONLY_IN_TRAINING = ("grad_norm", "learning_rate")


class ShowProgress(TrainerCallback):
    """Loss and time left: a bar on a terminal, a line every 30 s otherwise.

    Args:
        name: the stage.
        say: takes a finished line; the project's log unless given.
        clock: seconds, for tests.
        terminal: whether to draw a bar; asks stderr unless given.
    """

    def __init__(
        self,
        name: str,
        say: Callable[[str], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        terminal: bool | None = None,
    ) -> None:
        self.name, self.say, self.clock = name, say or log.info, clock
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self.loss = math.nan
        self.first_step = 0
        self.started = self.said = clock()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock; after a resume only the steps of this process count for the estimate."""
        self.first_step = state.global_step
        self.started = self.said = self.clock()
        if state.global_step:
            self.say(f"{self.name} continues at step {state.global_step}/{state.max_steps}")

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """Remember the loss, and show it: the log comes after the step."""
        if logs and "loss" in logs:
            self.loss = logs["loss"]
            self._show(state)

    def _show(self, state: Any) -> None:
        now = self.clock()
        done, total = state.global_step, state.max_steps
        left = (now - self.started) / max(done - self.first_step, 1) * (total - done)
        words = f"{self.name} step {done}/{total} loss {self.loss:.4f} eta {int(left // 60)}m{int(left % 60):02d}s"
        if self.terminal:
            width = 24
            filled = width * done // max(total, 1)
            end = "\n" if done >= total else ""
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (width - filled)}] {words}{end}")
            sys.stderr.flush()
        elif now - self.said >= SECONDS_BETWEEN_LINES:
            self.said = now
            self.say(words)


def curve(history: Sequence[Mapping[str, Any]], columns: Mapping[str, str], split: str) -> list[dict[str, Any]]:
    """One row a step out of the trainer's log: step, epoch and the columns of ``split`` ("train" or "eval").

    The reward accuracy is left empty where policy and reference are the same weights: nothing is larger than itself,
    so TRL counts 0 there, which a reader would take for a loss of every pair.
    """
    prefix = "eval_" if split == "eval" else ""
    kept = {name: key for name, key in columns.items() if split == "train" or name not in _ONLY_IN_TRAINING}
    rows: dict[int, dict[str, Any]] = {}
    for entry in history:
        if f"{prefix}loss" not in entry:
            continue
        row = {"step": entry["step"], "epoch": round(float(entry.get("epoch") or 0.0), 6)}
        row |= {name: entry.get(prefix + key) for name, key in kept.items()}
        if row.get("reward_margin") == 0 and row.get("reward_accuracy") == 0:
            row["reward_accuracy"] = None
        rows[row["step"]] = row
    return [rows[step] for step in sorted(rows)]


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Nothing; ``path`` holds the rows with six significant digits, so that a diff shows changes and not noise."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(columns), *(",".join(_cell(row.get(name)) for name in columns) for row in rows)]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value) if isinstance(value, int | str) else f"{value:.6g}"


class WriteCurves(TrainerCallback):
    """Writes ``folder``/train.csv and eval.csv anew at every log, so that a running stage can be plotted."""

    def __init__(self, folder: Path, columns: Mapping[str, str]) -> None:
        self.folder, self.columns = folder, columns

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write what is known so far."""
        self.write(state.log_history)

    def write(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Nothing; both files say what ``history`` says. An empty curve makes no file."""
        for split in ("train", "eval"):
            rows = curve(history, self.columns, split)
            if rows:
                write_csv(self.folder / f"{split}.csv", rows)


@dataclass(frozen=True)
class Watch:
    """What the collapse guard asks for, given by the caller.

    Attributes:
        sample: (model, tokenizer) → what the model now writes to the fixed held-out prompts. Seeded by the caller.
        measure: what ``sample`` returns → measures by name, each a share or a number that grows with decline.
    """

    sample: Callable[[Any, Any], Sequence[Any]]
    measure: Callable[[Sequence[Any]], Mapping[str, float]]


class CollapseGuard(TrainerCallback):
    """Looks at what the model writes every N steps; past a limit it ends the run and puts the last good weights back.

    Its measures stand in the trainer's log as ``guard/<name>``, so a resumed run knows them. In DPO,
    ``chosen_logp_drop`` (how many nats the chosen completions lost against the reference) may be limited as well.

    Args:
        watch: how to sample and measure.
        tokenizer: handed to ``watch.sample``.
        every_steps: looks before the first step, after every so many, and after the last one.
        limits: measure → largest value that is still good; None: no limit.
        folder: where the last good weights are kept during the run.
    """

    def __init__(
        self, watch: Watch, tokenizer: Any, *, every_steps: int, limits: Mapping[str, float | None], folder: Path
    ) -> None:
        self.watch, self.tokenizer, self.every_steps, self.limits = watch, tokenizer, every_steps, dict(limits)
        self.folder = folder
        self.stopped_at_step: int | None = None
        self.stopped_because: str | None = None
        self.kept_step: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure the model that training starts from: the curve's zero, and the fall-back of the first interval."""
        if state.global_step == 0:
            self._look(state, control, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure when it is time; the order of callbacks puts this before the step's log and checkpoint."""
        # The last step too: what is handed on has been looked at.
        if state.global_step % self.every_steps == 0 or state.global_step == state.max_steps:
            self._look(state, control, model)

    def _look(self, state: Any, control: Any, model: Any) -> None:
        was_training = model.training
        model.eval()
        try:
            with torch.random.fork_rng(), torch.no_grad():
                found = dict(self.watch.measure(self.watch.sample(model, self.tokenizer)))
        finally:
            model.train(was_training)
        drifts = [entry["drift/chosen"] for entry in state.log_history if "drift/chosen" in entry]
        if drifts:
            found["chosen_logp_drop"] = -drifts[-1]
        state.log_history.append(
            {"step": state.global_step} | {f"guard/{name}": value for name, value in found.items()}
        )
        passed = [
            f"{name} {found[name]:.4g} > {limit:.4g}"
            for name, limit in sorted(self.limits.items())
            if limit is not None and name in found and not found[name] <= limit
        ]
        if not passed:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_trained(model, self.folder / f".good-{state.global_step}.safetensors")
            (self.folder / f".good-{state.global_step}.safetensors").replace(self._good(state.global_step))
            for path in self.folder.glob("good-*.safetensors"):
                if path != self._good(state.global_step):
                    path.unlink()
            return
        self.stopped_at_step, self.stopped_because = state.global_step, "; ".join(passed)
        log.warning("collapse guard: step %d: %s", state.global_step, self.stopped_because)
        control.should_training_stop = True
        # A checkpoint of weights that were just refused would let a killed run continue past the stop.
        control.should_save = False

    def _good(self, step: int) -> Path:
        return self.folder / f"good-{step}.safetensors"

    def restore(self, model: Any) -> None:
        """Nothing; after a stop, ``model`` is again what it was when the guard last found it good.

        A run that was bad from the start keeps its last weights: there is nothing good to go back to.
        """
        kept = sorted(self.folder.glob("good-*.safetensors"), key=lambda path: int(path.stem.split("-")[1]))
        if self.stopped_at_step is None or not kept:
            return
        load_trained(model, kept[-1])
        self.kept_step = int(kept[-1].stem.split("-")[1])

    @staticmethod
    def curve(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One row per look: step and every measure, by name: a resumed run reads its log back with sorted keys."""
        looks = {
            entry["step"]: {"step": entry["step"]}
            | {key.removeprefix("guard/"): entry[key] for key in sorted(entry) if key.startswith("guard/")}
            for entry in history
            if any(key.startswith("guard/") for key in entry)
        }
        return [looks[step] for step in sorted(looks)]

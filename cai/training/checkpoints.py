"""Resume to the byte: checkpoints that are whole or not there, without pickle, and a batch order that needs no memory.

transformers writes a checkpoint file by file into its final folder (a kill leaves half of one, which it would then
resume from) and pickles the optimizer, the random state and the arguments. Here a checkpoint is written under a
temporary name and renamed; tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import Sampler

from cai.llm.cache import new_folder

N_KEPT = 2
BATCHES_SORTED_TOGETHER = 8


class PlannedOrder(Sampler[int]):
    """Row numbers in an order that depends on (seed, epoch, lengths) alone, rows of similar length side by side.

    A sampler that draws from the global generator would go on differently after a resume in a later epoch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Nothing; the next iteration is that epoch's."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        span = self.batch_size * BATCHES_SORTED_TOGETHER
        batches: list[list[int]] = []
        for start in range(0, len(order), span):
            near = sorted(order[start : start + span], key=lambda row: (-self.lengths[row], row))
            batches += [near[at : at + self.batch_size] for at in range(0, len(near), self.batch_size)]
        whole = [batch for batch in batches if len(batch) == self.batch_size]
        # The short batch stays last: anywhere else it would shift the borders of all batches behind it.
        short = [batch for batch in batches if len(batch) < self.batch_size]
        for place in torch.randperm(len(whole), generator=generator).tolist():
            yield from whole[place]
        for batch in short:
            yield from batch


def last_checkpoint(folder: Path) -> Path | None:
    """The finished checkpoint with the most steps, or None."""
    found = {int(match[1]): path for path in folder.glob("checkpoint-*") if (match := _STEP.fullmatch(path.name))}
    return found[max(found)] if found else None


_STEP = re.compile(r"checkpoint-(\d+)")


class WholeCheckpoints:
    """A mixin for TRL's trainers: atomic checkpoints without pickle, planned order of rows, nothing sent anywhere.

    Sharded training (FSDP, DeepSpeed) has tensors that no single process holds and keeps transformers' own way.
    """

    def _shards(self: Any) -> bool:
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _send_telemetry(self) -> None:
        """Nothing: TRL reports every run to the hub, and its switch is read when huggingface_hub is imported."""

    def _get_train_sampler(self: Any, train_dataset: Any = None) -> Any:
        # The dataset handed in has lost its column of lengths to remove_unused_columns.
        return PlannedOrder(self.train_dataset["length"], self.args.per_device_train_batch_size, self.args.seed)

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        if self._shards():
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            return
        if not self.args.should_save:
            return
        target = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if target.is_dir():
            shutil.rmtree(target)
        with new_folder(target) as folder:
            save_trained(self.model, folder / "trained.safetensors")
            save_file(self._optimizer_tensors(), folder / "optimizer.safetensors")
            save_file(_random_state(), folder / "random.safetensors")
            (folder / "scheduler.json").write_text(json.dumps(self.lr_scheduler.state_dict()))
            self.state.save_to_json(str(folder / "trainer_state.json"))
            for path in folder.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        steps = sorted(int(m[1]) for path in target.parent.iterdir() if (m := _STEP.fullmatch(path.name)))
        for step in steps[:-N_KEPT]:
            shutil.rmtree(target.parent / f"checkpoint-{step}", ignore_errors=True)

    def _optimizer_tensors(self: Any) -> dict[str, torch.Tensor]:
        return {
            f"{name}/{key}": value.detach().contiguous()
            for name, parameter in trained_parameters(self.model)
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        if self._shards():
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
            return
        load_trained(self.model, Path(resume_from_checkpoint) / "trained.safetensors")

    def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
        if checkpoint is None or self._shards():
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        tensors = load_file(Path(checkpoint) / "optimizer.safetensors")
        parameters = dict(trained_parameters(self.model))
        for label, value in tensors.items():
            name, key = label.rsplit("/", 1)
            parameter = parameters[name]
            # A fused optimizer wants its step counter where the parameter is.
            self.optimizer.state[parameter][key] = value.to(parameter.device)
        self.lr_scheduler.load_state_dict(json.loads((Path(checkpoint) / "scheduler.json").read_text()))
        for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _load_rng_state(self: Any, checkpoint: str | None) -> None:
        if checkpoint is None or self._shards():
            super()._load_rng_state(checkpoint)  # type: ignore[misc]
            return
        state = load_file(Path(checkpoint) / "random.safetensors")
        torch.set_rng_state(state["cpu"])
        if torch.cuda.is_available() and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"])


def trained_parameters(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    """(name, parameter) of everything that is trained."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def save_trained(model: Any, path: Path) -> None:
    """Nothing; ``path`` holds every trained tensor of ``model`` by name."""
    save_file({name: value.detach().contiguous() for name, value in trained_parameters(model)}, path)


def load_trained(model: Any, path: Path) -> None:
    """Nothing; the trained tensors of ``model`` are those in ``path``, which must name exactly the same ones."""
    tensors = load_file(path)
    parameters = dict(trained_parameters(model))
    if tensors.keys() != parameters.keys():
        raise ValueError(f"{path.name} is of another model: {sorted(tensors.keys() ^ parameters.keys())[:3]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state

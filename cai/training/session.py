"""What SFT and DPO share: the model that is trained, the arguments, resume, and the folder that comes out."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cai.errors import ArtifactError, CaiError, ModelError
from cai.llm.cache import new_folder
from cai.llm.weights import adapter_sha256, without_progress_bars
from cai.llm.weights import tokenizer as open_tokenizer
from cai.llm.wheel import file_sha256
from cai.training import cpu
from cai.training.callbacks import CollapseGuard, ShowProgress, Watch, WriteCurves, curve, write_csv
from cai.training.checkpoints import last_checkpoint, trained_parameters
from cai.training.labels import Dropped
from cai.training.tuning import TrainingSummary, Tuning

log = logging.getLogger("cai")

_RECIPE = "2"
"""Part of every checkpoint's key: raise it when the code below would go on differently from an old checkpoint."""

EAGER_UP_TO = 512
"""Tokens up to which plain attention is faster on a CPU than the fused kernel, whose backward pass is slow there."""


@dataclass(frozen=True)
class Opened:
    """Weights ready to be trained: the model, its tokenizer, the adapter to put on it (None: full fine-tuning)."""

    model: Any
    tokenizer: Any
    adapter: Any
    weights: Path


def open_weights(weights: Path, params: Tuning) -> Opened:
    """The model in ``weights`` in the dtype it is trained in, with its tokenizer and adapter configuration.

    Under an adapter the base is loaded in ``params.precision``; full fine-tuning needs fp32 weights, because the steps
    of a small learning rate vanish in bf16.

    Raises:
        ModelError: the folder is not a model, or has fewer layers than ``params.last_layers``.
    """
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if params.adapter == "lora" and params.precision == "bf16" else torch.float32
    plain_attention = not torch.cuda.is_available() and params.max_length <= EAGER_UP_TO
    try:
        with without_progress_bars():
            model = AutoModelForCausalLM.from_pretrained(
                weights,
                dtype=dtype,
                attn_implementation="eager" if plain_attention else "sdpa",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"weights {weights.name}", "cannot be opened for training", got=str(error).splitlines()[0]
        ) from error
    tokenizer = open_tokenizer(weights)
    return Opened(model, tokenizer, _adapter(model, params), weights)


def _adapter(model: Any, params: Tuning) -> Any:
    if params.adapter == "none":
        return None
    import peft

    n_layers = model.config.get_text_config().num_hidden_layers
    if params.last_layers is not None and params.last_layers > n_layers:
        raise ModelError("last_layers", "the model has fewer layers", got=params.last_layers, expected=f"<= {n_layers}")
    head = model.get_output_embeddings()
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    config: Any = peft.LoraConfig  # declares lora_alpha as int, and takes any number
    return config(
        task_type="CAUSAL_LM",
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=sorted(linear),
        # Layers below the lowest adapter need no backward pass at all.
        layers_to_transform=None
        if params.last_layers is None
        else list(range(n_layers - params.last_layers, n_layers)),
    )


def checkpoint_folder(work: Path, name: str, opened: Opened, params: Tuning, content: Iterable[object]) -> Path:
    """``work/train/<key>``, where the key names everything that decides the bytes of the result on this machine.

    Args:
        work: the work directory.
        name: the stage.
        opened: the weights that training starts from; their files are hashed.
        params: every parameter.
        content: what is trained and evaluated on, as ids.
    """
    digest = hashlib.sha256()
    versions = [importlib.metadata.version(package) for package in ("torch", "transformers", "trl", "peft")]
    files = [[path.name, file_sha256(path)] for path in sorted(opened.weights.glob("*.safetensors"))]
    digest.update(json.dumps([_RECIPE, name, params.model_dump(), versions, files]).encode())
    for part in content:
        digest.update(repr(part).encode())
    return work / "train" / f"{name}-{digest.hexdigest()[:20]}"


def arguments(params: Tuning, folder: Path, *, evaluates: bool) -> dict[str, Any]:
    """The keyword arguments that SFTConfig and DPOConfig share, nothing left to a default that TRL sets for GPUs."""
    on_gpu = torch.cuda.is_available()
    mixed = params.precision == "bf16" and (on_gpu or params.adapter == "none")
    return {
        "output_dir": str(folder),
        "use_cpu": not on_gpu,
        "bf16": mixed,
        "fp16": False,
        "activation_checkpointing": params.activation_checkpointing,
        "per_device_train_batch_size": params.batch_size,
        "per_device_eval_batch_size": params.batch_size,
        "gradient_accumulation_steps": params.accumulation_steps,
        "num_train_epochs": params.epochs,
        "learning_rate": params.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if params.schedule == "constant" else params.schedule,
        "warmup_steps": params.warmup_share,
        "weight_decay": params.weight_decay,
        "max_grad_norm": params.max_grad_norm,
        "seed": params.seed,
        "data_seed": params.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": params.save_every_steps,
        "eval_strategy": "steps" if evaluates and params.eval_every_steps else "no",
        "eval_steps": params.eval_every_steps or None,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu,
        "dataloader_num_workers": 0,
        "max_length": None,  # cai.training.labels has already left out what is too long
        "push_to_hub": False,
    }


def hasten(trainer: Any) -> None:
    """Nothing; on a CPU the trainer's model now takes the short ways of cai.training.cpu."""
    if torch.cuda.is_available():
        return
    for model in (trainer.model, getattr(trainer, "ref_model", None)):
        if model is None:
            continue
        cpu.fuse_adapters(model)
        cpu.project_completions(model.get_base_model() if hasattr(model, "get_base_model") else model)


@dataclass(frozen=True)
class Finished:
    """What a trainer leaves behind for the summary."""

    history: list[dict[str, Any]]
    n_steps: int
    guard: CollapseGuard | None


def fit(
    trainer: Any,
    *,
    name: str,
    params: Tuning,
    folder: Path,
    columns: Mapping[str, str],
    curves: Path | None,
    watch: Watch | None,
    say: Any,
) -> Finished:
    """Train from the last whole checkpoint in ``folder``, or from the start, to the end or to the guard's stop.

    Evaluates before the first step and after the last one. Writes train.csv, eval.csv and guard.csv into ``curves``.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    if trainer.is_world_process_zero():
        trainer.add_callback(ShowProgress(name, say))
        if curves is not None:
            trainer.add_callback(WriteCurves(curves, columns))
    guard = None
    if watch is not None and params.guard.every_steps:
        guard = CollapseGuard(
            watch,
            trainer.processing_class,
            every_steps=params.guard.every_steps,
            limits=params.guard.max,
            folder=folder,
        )
        trainer.add_callback(guard)
    resume = last_checkpoint(folder)
    evaluates = trainer.eval_dataset is not None
    trainer.args.eval_on_start = evaluates and resume is None
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if guard is not None:
        guard.restore(trainer.model)
    n_steps = trainer.state.global_step
    evaluated = {entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry}
    if evaluates and (n_steps not in evaluated or (guard is not None and guard.kept_step is not None)):
        trainer.evaluate()
    history = trainer.state.log_history
    if curves is not None and trainer.is_world_process_zero():
        WriteCurves(curves, columns).write(history)
        looks = CollapseGuard.curve(history)
        if looks:
            write_csv(curves / "guard.csv", looks)
    return Finished(history, n_steps, guard)


def write_model(trainer: Any, tokenizer: Any, out: Path, base: str) -> None:
    """Nothing; ``out`` then holds the adapter (or, without one, the whole model), its config and the tokenizer.

    The same training writes the same bytes: sets are sorted, no path or time is kept. ``base`` stands in
    adapter_config.json in place of the folder that the weights were loaded from.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    if out.exists():
        shutil.rmtree(out)
    with new_folder(out) as folder:
        if hasattr(model, "peft_config"):
            from peft import get_peft_model_state_dict

            state = get_peft_model_state_dict(model)
            tensors = {key: state[key].detach().cpu().contiguous() for key in sorted(state)}
            save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
            config = model.peft_config["default"].to_dict()
            config |= {"base_model_name_or_path": base, "inference_mode": True}
            _write_json(folder / "adapter_config.json", {key: _plain(value) for key, value in config.items()})
        else:
            with without_progress_bars():
                model.save_pretrained(folder)
            _drop_keys(folder / "config.json", ("_name_or_path",))
        tokenizer.save_pretrained(folder)
        _drop_keys(folder / "tokenizer_config.json", ("name_or_path", "local_files_only", "is_local", "_commit_hash"))


def summary(
    name: str,
    out: Path,
    finished: Finished,
    columns: Mapping[str, str],
    *,
    model: Any,
    n_rows: int,
    n_eval_rows: int,
    dropped: Sequence[Dropped],
    completions: Sequence[Sequence[int]],
    lengths: Sequence[int],
    labels_with_stop_share: float,
    n_uncut_without_stop: int,
) -> TrainingSummary:
    """The facts of a finished run."""
    losses = [row["loss"] for row in curve(finished.history, columns, "train")]
    evaluations = curve(finished.history, columns, "eval")
    last = losses[-max(1, len(losses) // 4) :]
    guard = finished.guard
    reasons = Counter(row.reason for row in dropped)
    return TrainingSummary(
        name=name,
        n_rows=n_rows,
        n_eval_rows=n_eval_rows,
        dropped={reason: reasons[reason] for reason in sorted(reasons)},
        dropped_rows=tuple((row.row_id, row.reason) for row in dropped),
        n_steps=finished.n_steps,
        loss_first=losses[0],
        loss_last=sum(last) / len(last),
        eval_loss_before=evaluations[0]["loss"] if evaluations and evaluations[0]["step"] == 0 else None,
        eval_loss=evaluations[-1]["loss"] if evaluations else None,
        labels_with_stop_share=labels_with_stop_share,
        n_uncut_without_stop=n_uncut_without_stop,
        mean_tokens=sum(lengths) / len(lengths),
        mean_completion_tokens=sum(map(len, completions)) / len(completions),
        n_trained_parameters=sum(parameter.numel() for _, parameter in trained_parameters(model)),
        adapter_sha256=adapter_sha256(out),
        stopped_at_step=guard.stopped_at_step if guard else None,
        stopped_because=guard.stopped_because if guard else None,
        kept_step=guard.kept_step if guard else None,
        final={key: value for key, value in evaluations[-1].items() if value is not None} if evaluations else {},
    )


def quiet() -> None:
    """Nothing; libraries report errors only, because a stage says itself how far it is, in words without texts."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    for module in ("trl", "transformers", "peft", "accelerate"):
        logging.getLogger(module).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{module}\..*")


def nothing_left(name: str, dropped: Sequence[Dropped]) -> CaiError:
    """The error for a stage whose every row was left out."""
    reasons = Counter(row.reason for row in dropped)
    said = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items())) or "no rows came in"
    return ArtifactError(
        f"{name}: training rows", "none can be trained on", got=said, next_step="raise max_length, or look upstream"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    return value.value if hasattr(value, "value") else value


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _drop_keys(path: Path, keys: Sequence[str]) -> None:
    content = json.loads(path.read_text())
    _write_json(path, {key: value for key, value in content.items() if key not in keys})

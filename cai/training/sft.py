"""Supervised fine-tuning: the rows' responses become what the model says after their contexts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.training.callbacks import SFT_COLUMNS, Watch
from cai.training.labels import Example, end_of_turn, n_uncut_without_stop, sft_examples, stop_share
from cai.training.tuning import SftTuning, TrainingSummary


def train_sft(
    rows: Sequence[Mapping[str, Any]],
    weights: Path,
    out: Path,
    work: Path,
    *,
    name: str,
    params: SftTuning,
    base: str,
    eval_rows: Sequence[Mapping[str, Any]] = (),
    curves: Path | None = None,
    watch: Watch | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainingSummary:
    """The facts of the run; ``out`` then holds the adapter (the caller adds chain.json).

    A killed run continues from its last checkpoint under ``work/train`` and ends with the same bytes.

    Args:
        rows: {id, turns: [{role, text}, ...] ending with the user's, response, cut: bool}.
        weights: folder of plain weights to start from (cai.llm.weights.open_chain).
        out: the folder to write, atomically; replaced where it exists.
        work: the work directory.
        name: the stage, for logs and checkpoints.
        params: see SftTuning.
        base: immutable name of ``weights``, for adapter_config.json.
        eval_rows: as ``rows``; evaluated before the first and after the last step.
        curves: folder for train.csv, eval.csv and guard.csv; None writes none.
        watch: what the collapse guard samples and measures, where ``params.guard`` has it look; unless given, the
            degeneration of answers to the first prompts of ``eval_rows``.
        say: takes progress lines; the project's log unless given.

    Raises:
        ModelError: weights or chat template cannot be used.
        ArtifactError: no row is left.
    """
    from cai.training import cpu, session
    from cai.training.watching import degeneration_watch

    cpu.keep_freed_memory()
    session.quiet()
    opened = session.open_weights(weights, params)
    limits: dict[str, Any] = {"max_length": params.max_length, "eos_on_cut_rows": params.eos_on_cut_rows}
    examples, dropped = sft_examples(rows, opened.tokenizer, **limits)
    held_out, eval_dropped = sft_examples(eval_rows, opened.tokenizer, **limits)
    if not examples:
        raise session.nothing_left(name, dropped)
    folder = session.checkpoint_folder(work, name, opened, params, [*examples, "eval", *held_out])
    trainer = build_trainer(opened, examples, held_out, params, folder)
    session.hasten(trainer)
    if watch is None and params.guard.every_steps:
        watch = degeneration_watch(eval_rows, params.guard, name=name, seed=params.seed)
    finished = session.fit(
        trainer, name=name, params=params, folder=folder, columns=SFT_COLUMNS, curves=curves, watch=watch, say=say
    )
    if trainer.is_world_process_zero():
        session.write_model(trainer, opened.tokenizer, out, base)
    trainer.accelerator.wait_for_everyone()
    stop, cut = end_of_turn(opened.tokenizer), {str(row["id"]): bool(row.get("cut", False)) for row in rows}
    labels = [[label for label in example.labels if label >= 0] for example in examples]
    result = session.summary(
        name,
        out,
        finished,
        SFT_COLUMNS,
        model=trainer.model,
        n_rows=len(examples),
        n_eval_rows=len(held_out),
        dropped=[*dropped, *eval_dropped],
        completions=labels,
        lengths=[len(example.input_ids) for example in examples],
        labels_with_stop_share=stop_share([e.labels for e in examples], stop) or 0.0,
        n_uncut_without_stop=n_uncut_without_stop(((e.labels, cut[e.row_id]) for e in examples), stop),
    )
    shutil.rmtree(folder, ignore_errors=True)
    return result


def build_trainer(
    opened: Any, examples: Sequence[Example], held_out: Sequence[Example], params: SftTuning, folder: Path
) -> Any:
    """TRL's SFTTrainer over rows of ids and labels, with whole checkpoints and a planned order."""
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from cai.training import session
    from cai.training.checkpoints import WholeCheckpoints

    class Trainer(WholeCheckpoints, SFTTrainer):
        pass

    config = SFTConfig(
        **session.arguments(params, folder, evaluates=bool(held_out)),
        dataset_kwargs={"skip_prepare_dataset": True},
        completion_only_loss=False,  # the labels are built already
        packing=False,
    )
    return Trainer(
        model=opened.model,
        args=config,
        train_dataset=dataset(examples),
        eval_dataset=dataset(sorted(held_out, key=lambda row: -len(row.input_ids))) if held_out else None,
        processing_class=opened.tokenizer,
        peft_config=opened.adapter,
        data_collator=DataCollatorForLanguageModeling(pad_token_id=opened.tokenizer.pad_token_id),
    )


def dataset(examples: Sequence[Example]) -> Any:
    """The examples as a table of ids, labels and lengths."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [list(example.input_ids) for example in examples],
            "labels": [list(example.labels) for example in examples],
            "length": [len(example.input_ids) for example in examples],
        }
    )

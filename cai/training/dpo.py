"""Direct preference optimization: a new adapter on the merged SFT weights, which without it are the reference."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.errors import ParamsError
from cai.training.callbacks import DPO_COLUMNS, Watch
from cai.training.labels import Pair, end_of_turn, n_uncut_without_stop, preference_pairs, stop_share
from cai.training.tuning import DpoTuning, TrainingSummary


def train_dpo(
    rows: Sequence[Mapping[str, Any]],
    weights: Path,
    out: Path,
    work: Path,
    *,
    name: str,
    params: DpoTuning,
    base: str,
    eval_rows: Sequence[Mapping[str, Any]] = (),
    curves: Path | None = None,
    watch: Watch | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainingSummary:
    """The facts of the run; ``out`` then holds the adapter (the caller adds chain.json).

    The reference is the model in ``weights``: the policy with its new adapter switched off, or for full fine-tuning
    a second copy of the same files. A killed run continues from its last checkpoint and ends with the same bytes.

    Args:
        rows: {id, turns, chosen, rejected, p_chosen: 0..1} and, where known, {chosen_cut, rejected_cut}.
        weights: folder of the merged SFT weights (cai.llm.weights.open_chain).
        out: the folder to write, atomically; replaced where it exists.
        work: the work directory.
        name: the stage, for logs and checkpoints.
        params: see DpoTuning.
        base: immutable name of ``weights``, for adapter_config.json.
        eval_rows: as ``rows``; evaluated before the first and after the last step.
        curves: folder for train.csv, eval.csv and guard.csv; None writes none.
        watch: what the collapse guard samples and measures, where ``params.guard`` has it look; unless given, the
            degeneration of answers to the first prompts of ``eval_rows``.
        say: takes progress lines; the project's log unless given.

    Raises:
        ParamsError: label_smoothing with a loss that does not read it.
        ModelError: weights or chat template cannot be used.
        ArtifactError: no row is left.
    """
    if params.label_smoothing and params.loss != "robust":
        raise ParamsError(
            f"{name}.label_smoothing",
            "is read by the loss robust only",
            got=f"{params.label_smoothing} with loss {params.loss}",
            expected="0, or loss: robust",
        )
    from cai.training import cpu, session
    from cai.training.watching import degeneration_watch

    cpu.keep_freed_memory()
    session.quiet()
    opened = session.open_weights(weights, params)
    limits: dict[str, Any] = {"max_length": params.max_length, "eos_on_cut_rows": params.eos_on_cut_rows}
    pairs, dropped = preference_pairs(rows, opened.tokenizer, **limits)
    held_out, eval_dropped = preference_pairs(eval_rows, opened.tokenizer, **limits)
    if not pairs:
        raise session.nothing_left(name, dropped)
    folder = session.checkpoint_folder(work, name, opened, params, [*pairs, "eval", *held_out])
    trainer = build_trainer(opened, pairs, held_out, params, folder)
    session.hasten(trainer)
    if watch is None and params.guard.every_steps:
        watch = degeneration_watch(eval_rows, params.guard, name=name, seed=params.seed)
    finished = session.fit(
        trainer, name=name, params=params, folder=folder, columns=DPO_COLUMNS, curves=curves, watch=watch, say=say
    )
    if trainer.is_world_process_zero():
        session.write_model(trainer, opened.tokenizer, out, base)
    trainer.accelerator.wait_for_everyone()
    stop = end_of_turn(opened.tokenizer)
    cut = {str(row["id"]): [bool(row.get(name, False)) for name in ("chosen_cut", "rejected_cut")] for row in rows}
    cuts = [side for pair in pairs for side in cut[pair.row_id]]
    completions = [ids for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids)]
    result = session.summary(
        name,
        out,
        finished,
        DPO_COLUMNS,
        model=trainer.model,
        n_rows=len(pairs),
        n_eval_rows=len(held_out),
        dropped=[*dropped, *eval_dropped],
        completions=completions,
        lengths=[_length(pair) for pair in pairs],
        labels_with_stop_share=stop_share(completions, stop) or 0.0,
        n_uncut_without_stop=n_uncut_without_stop(zip(completions, cuts, strict=True), stop),
    )
    shutil.rmtree(folder, ignore_errors=True)
    return result


def build_trainer(opened: Any, pairs: Sequence[Pair], held_out: Sequence[Pair], params: DpoTuning, folder: Path) -> Any:
    """TRL's DPOTrainer over rows of ids, with soft labels, whole checkpoints and a planned order."""
    from trl import DPOConfig

    from cai.training import session
    from cai.training.checkpoints import WholeCheckpoints
    from cai.training.loss import PairCollator, SoftDPOTrainer

    class Trainer(WholeCheckpoints, SoftDPOTrainer):
        pass

    reference = None
    if opened.adapter is None:
        # TRL would load the reference from the path in the config, which need not be where these weights came from.
        reference = session.open_weights(opened.weights, params).model
    losses = [params.loss, *(["sft"] if params.sft_weight else [])]
    config = DPOConfig(
        **session.arguments(params, folder, evaluates=bool(held_out)),
        beta=params.beta,
        loss_type=losses,
        loss_weights=[1.0, *([params.sft_weight] if params.sft_weight else [])],
        label_smoothing=params.label_smoothing,
        precompute_ref_log_probs=False,
    )
    return Trainer(
        model=opened.model,
        ref_model=reference,
        args=config,
        train_dataset=dataset(pairs, soft=params.soft_labels),
        eval_dataset=dataset(sorted(held_out, key=_length, reverse=True), soft=params.soft_labels)
        if held_out
        else None,
        processing_class=opened.tokenizer,
        peft_config=opened.adapter,
        data_collator=PairCollator(pad_token_id=opened.tokenizer.pad_token_id),
    )


def dataset(pairs: Sequence[Pair], *, soft: bool) -> Any:
    """The pairs as a table of ids and lengths, with the judge's probabilities where labels are soft."""
    from datasets import Dataset

    columns: dict[str, list[Any]] = {
        "prompt_ids": [list(pair.prompt_ids) for pair in pairs],
        "chosen_ids": [list(pair.chosen_ids) for pair in pairs],
        "rejected_ids": [list(pair.rejected_ids) for pair in pairs],
        "length": [_length(pair) for pair in pairs],
    }
    if soft:
        columns["p_chosen"] = [pair.p_chosen for pair in pairs]
    return Dataset.from_dict(columns)


def _length(pair: Pair) -> int:
    return 2 * len(pair.prompt_ids) + len(pair.chosen_ids) + len(pair.rejected_ids)

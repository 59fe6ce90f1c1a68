"""The gate of metrics/training_<model>.json: a run that taught every row its stop and whose loss fell.

Beside the summary it reads the curve of the training loss. Steps see different rows, so single steps are not compared:
the loss is told to have risen only where the mean of the second half surely lies above that of the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import Field

from cai.params import Section, Share
from cai.quality.checking.bounds import Facts, surely_risen
from cai.quality.checking.checks import Check, Parent, fact_within, n_rows, share_at_most, zero

PATH = "metrics/training_{model}.json"
CURVE = "metrics/curves/{model}/train.csv"
PARENTS: tuple[Parent, ...] = ()
LOSSES = ("loss_first", "loss_last", "eval_loss_before", "eval_loss")


class Thresholds(Section):
    """gates.training_<model>"""

    min_rows: int = Field(ge=1)
    min_labels_with_stop_share: float = Share
    min_completion_tokens: float = Field(ge=1.0)
    max_dropped_share: float = Share
    max_loss_rise: float = Field(ge=0.0)
    max_eval_loss_ratio: float = Field(gt=0.0)


def _flat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary's facts, whether they stand at the top or in the first row of ``detail``."""
    detail = summary.get("detail") or [{}]
    flat = {**summary, **(detail[0] if isinstance(detail, list) and isinstance(detail[0], Mapping) else {})}
    return flat if "n_rows" in flat else {**flat, "n_rows": flat.get("n_train_rows")}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def slim(summary: Mapping[str, Any], parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One row for every row that was trained on, without any column of it: how many there are is all that is known."""
    n = _number(_flat(summary).get("n_rows"))
    return pl.DataFrame({"row": range(int(n) if n is not None and math.isfinite(n) else 0)}, schema={"row": pl.Int64})


def facts(summary: Mapping[str, Any], parents: Mapping[str, pl.DataFrame]) -> Facts:
    """The summary's numbers; missing ones are null and fail what needs them, save those of an absent evaluation."""
    flat, found = _flat(summary), Facts()
    for name in (
        "n_steps",
        "n_trained_parameters",
        "labels_with_stop_share",
        "n_uncut_without_stop",
        "mean_completion_tokens",
    ):
        found[name] = _number(flat.get(name))
    given = {name: _number(flat[name]) for name in LOSSES if flat.get(name) is not None}
    steps = [float("nan") if value is None else value for value in parents["curve"].get_column("loss")]
    strange = [f"step {n}" for n, value in enumerate(steps, start=1) if not math.isfinite(value)]
    strange += [name for name, value in given.items() if value is None or not math.isfinite(value)]
    found.count("n_losses_not_finite", strange)
    found["n_steps_without_loss"] = max(0.0, (found["n_steps"] or 0.0) - len(steps))
    found["n_losses_absent"] = sum(name not in given for name in LOSSES[:2])
    # Losses that are not finite are another check's failure.
    found["loss_rise"], found["loss_rise_low"] = surely_risen([value for value in steps if math.isfinite(value)])
    found["eval_loss_ratio"] = _ratio(given.get("eval_loss"), given.get("eval_loss_before"))
    dropped = flat.get("dropped")
    n_dropped = (
        sum(int(n) for n in dropped.values()) if isinstance(dropped, Mapping) else int(flat.get("n_dropped") or 0)
    )
    n_given = int(_number(flat.get("n_rows")) or 0) + int(_number(flat.get("n_eval_rows")) or 0)
    found.share("dropped", n_dropped, n_dropped + n_given)
    found["n_stopped"] = int(flat.get("stopped_at_step") is not None)
    return found


def _ratio(late: float | None, early: float | None) -> float:
    """late / early; 0, which passes, where one of them is absent or not finite."""
    if late is None or early is None or not (math.isfinite(late) and math.isfinite(early)) or early <= 0:
        return 0.0
    return late / early


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of a training run."""
    return [
        n_rows(thresholds.min_rows, None, "there were rows to train on"),
        fact_within("n_steps", 1, None, "the optimizer took a step"),
        fact_within("n_trained_parameters", 1, None, "there were parameters to train"),
        fact_within(
            "labels_with_stop_share",
            thresholds.min_labels_with_stop_share,
            1,
            "enough of the rows' labels end with the end-of-turn token, so that the model learns to stop",
        ),
        zero(
            "n_uncut_without_stop", "only what was cut at the token budget is trained on without its end-of-turn token"
        ),
        zero("n_losses_absent", "the first and the last loss are known"),
        zero("n_losses_not_finite", "every loss of every step is finite"),
        zero("n_steps_without_loss", "the curve has a loss for every step"),
        fact_within(
            "mean_completion_tokens",
            thresholds.min_completion_tokens,
            None,
            "rows teach more than a word or two",
            "fitness",
        ),
        share_at_most("dropped", thresholds.max_dropped_share, "few rows were left out by the trainer"),
        Check(
            "ExpectColumnMaxToBeBetween",
            {"column": "loss_rise_low", "max_value": thresholds.max_loss_rise},
            "fitness",
            "facts",
            "the training loss did not rise (mean of the second half of the steps less that of the first)",
            share="loss_rise",
            threshold=thresholds.max_loss_rise,
        ),
        fact_within(
            "eval_loss_ratio",
            None,
            thresholds.max_eval_loss_ratio,
            "the held-out loss did not rise (after over before)",
            "fitness",
        ),
        fact_within("n_stopped", 0, 0, "the collapse guard did not end the run", "fitness"),
    ]

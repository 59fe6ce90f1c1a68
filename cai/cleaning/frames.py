"""Cleaning over the pipeline's tables: revisions in; cleaned, dropped and edits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import polars as pl

from cai.artifacts.cleaned import ASKED, CLEANED, DROPPED, EDITS
from cai.cleaning.clean import NOT_GENERATED, Cleaned, Row, clean_rows, metrics
from cai.cleaning.editor import Edited
from cai.cleaning.plan import Plan

Edit = Callable[[Sequence[tuple[Row, Cleaned]], Plan], Edited]


class Frames(NamedTuple):
    """Columns of CLEANED, DROPPED, EDITS and ASKED, and the counts per rule."""

    cleaned: pl.DataFrame
    dropped: pl.DataFrame
    edits: pl.DataFrame
    asked: pl.DataFrame
    metrics: dict[str, Any]


def clean_frames(revisions: pl.DataFrame, plan: Plan, editor: Edit | None = None) -> Frames:
    """Every revision is kept or dropped, and every change is in ``edits``: in = kept + dropped.

    Args:
        revisions: columns of REVISIONS. A row that was never generated is dropped with its error as reason.
        plan: the variant.
        editor: called once, over all rows, after the rules; None where the plan does not want it.
    """
    rows = revisions.sort("prompt_id", "round").to_dicts()
    written = [row for row in rows if row["revision"] is not None]
    results: list[tuple[Row, Cleaned]] = list(clean_rows((_row(row) for row in written), plan))
    edited = editor(results, plan) if editor is not None else Edited([result for _, result in results], [], {})
    results = [(row, result) for (row, _), result in zip(results, edited.results, strict=True)]
    kept, dropped, edits = [], [], []
    for row in rows:
        if row["revision"] is None:
            dropped.append(_drop(row, f"{NOT_GENERATED}: {row['error']}", "none"))
    for row, (_, result) in zip(written, results, strict=True):
        if result.text is None:
            dropped.append(_drop(row, str(result.reason), str(result.rule)))
            continue
        kept.append({**row, "revision": result.text, "cut": row["finish_reason"] == "length"})
        edits += [
            {"prompt_id": row["prompt_id"], "round": row["round"], **edit._asdict(), "step": step}
            for step, edit in enumerate(result.edits)
        ]
    counts = metrics(results, plan, len(rows) - len(written))
    if editor is not None:
        counts["editor"] = edited.metrics
    asked = [_asked(verdict._asdict()) for verdict in edited.verdicts]
    return Frames(CLEANED.frame(kept), DROPPED.frame(dropped), EDITS.frame(edits), ASKED.frame(asked), counts)


def _asked(verdict: dict[str, Any]) -> dict[str, Any]:
    prompt_id, number = verdict.pop("key").rsplit("/", 1)
    return {"prompt_id": prompt_id, "round": int(number), **verdict}


def _row(row: dict[str, Any]) -> Row:
    return Row(
        f"{row['prompt_id']}/{row['round']}",
        row["revision"],
        prompt=row["prompt"],
        response=row["response"],
        critique=row["critique"],
        finish_reason=row["finish_reason"],
    )


def _drop(row: dict[str, Any], reason: str, rule: str) -> dict[str, Any]:
    return {
        "prompt_id": row["prompt_id"],
        "round": row["round"],
        "reason": reason,
        "rule": rule,
        "revision": row["revision"],
    }

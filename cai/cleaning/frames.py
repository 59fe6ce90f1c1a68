"""Cleaning over the pipeline's tables: revisions in; cleaned, dropped and edits out."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from cai.artifacts.cleaned import CLEANED, DROPPED, EDITS
from cai.cleaning.clean import Cleaned, Row, clean_rows, metrics
from cai.cleaning.plan import Plan


class Frames(NamedTuple):
    """Columns of CLEANED, DROPPED and EDITS, and the counts per rule."""

    cleaned: pl.DataFrame
    dropped: pl.DataFrame
    edits: pl.DataFrame
    metrics: dict[str, Any]


def clean_frames(revisions: pl.DataFrame, plan: Plan) -> Frames:
    """Every revision is kept or dropped, and every change is in ``edits``: in = kept + dropped.

    Args:
        revisions: columns of REVISIONS. A row that was never generated is dropped with its error as reason.
        plan: the variant.
    """
    rows = revisions.sort("prompt_id", "round").to_dicts()
    written = [row for row in rows if row["revision"] is not None]
    results: list[tuple[Row, Cleaned]] = list(clean_rows((_row(row) for row in written), plan))
    kept, dropped, edits = [], [], []
    for row in rows:
        if row["revision"] is None:
            dropped.append(_drop(row, f"not generated: {row['error']}", "none"))
    for row, (_, result) in zip(written, results, strict=True):
        if result.text is None:
            dropped.append(_drop(row, str(result.reason), str(result.rule)))
            continue
        kept.append({**row, "revision": result.text, "cut": row["finish_reason"] == "length"})
        edits += [
            {"prompt_id": row["prompt_id"], "round": row["round"], **edit._asdict(), "step": step}
            for step, edit in enumerate(result.edits)
        ]
    counts = metrics(results)
    return Frames(CLEANED.frame(kept), DROPPED.frame(dropped), EDITS.frame(edits), counts)


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

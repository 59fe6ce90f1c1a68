"""The gate of data/supervised/edits.parquet: the log tells the whole way from the raw revision to the kept text."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.cleaned import CLEANED
from cai.artifacts.cleaned import EDITS as TABLE
from cai.artifacts.supervised import REVISIONS
from cai.params import Section
from cai.quality.checking.accounting import beside, ids, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, unique, within, zero

PARENTS = (
    Parent(REVISIONS, ("prompt_id", "round", "revision")),
    Parent(CLEANED, ("prompt_id", "round", pl.col("revision").alias("kept"))),
)
WHOLE = True  # a row's edits are applied one after the other, so they must not be cut into slices
ROW = ("prompt_id", "round")
MAY_BE_BLANK = ("removed", "inserted")  # nothing but white space may have gone, and nothing came for it


class Thresholds(Section):
    """gates.edits; no row at all is fine where no text changed, which `n_changed_without_edit` proves."""

    min_rows: int = Field(ge=0)
    max_steps: int = Field(ge=1)


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the edits."""
    joined = beside(frame, parents["cleaned"].select(*ROW), ROW)
    order = frame.select(pl.col("step").rank("dense").over(ROW).cast(pl.Int64) - pl.col("step"))
    first = frame.select(pl.col("step").min().over(ROW)).to_series()
    return joined.select(
        *TABLE.key,
        "unknown",
        (pl.col("rule").str.strip_chars() == "").fill_null(False).alias("no_rule"),
        (
            (pl.col("start") < 0)
            | (pl.col("end") < pl.col("start"))
            | (pl.col("end") - pl.col("start") != pl.col("removed").str.len_chars().cast(pl.Int64))
        )
        .fill_null(True)
        .alias("wrong_span"),
        (pl.col("removed") == pl.col("inserted")).fill_null(False).alias("changes_nothing"),
    ).with_columns(
        (order.to_series().ne_missing(1 - first) | ~first.is_in([0, 1])).alias("step_missing"),
        _not_replayed(frame, parents),
    )


def _not_replayed(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.Series:
    """For every edit whether what it removes does not stand there, or the row's edits end in another text."""
    texts = (
        frame.select(*ROW)
        .unique()
        .join(parents["revisions"], on=list(ROW), how="left")
        .join(parents["cleaned"], on=list(ROW), how="left")
    )
    state = {(name, round_): raw for name, round_, raw, _ in texts.rows()}
    goal = {(name, round_): kept for name, round_, _, kept in texts.rows()}
    wrong: set[tuple[str, int]] = set()
    # What stands there twice, and an end that does not fit, are other checks' failures.
    ordered = frame.unique(subset=list(TABLE.key), keep="first", maintain_order=True).sort(TABLE.key)
    for name, round_, start, removed, inserted in ordered.select(*ROW, "start", "removed", "inserted").iter_rows():
        text = state[name, round_]
        end = start + len(removed)
        if text is None or text[start:end] != removed:
            wrong.add((name, round_))
        else:
            state[name, round_] = f"{text[:start]}{inserted}{text[end:]}"
    wrong |= {row for row, text in state.items() if goal[row] is not None and text is not None and text != goal[row]}
    return pl.Series("not_replayed", [row in wrong for row in frame.select(*ROW).iter_rows()], dtype=pl.Boolean)


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Texts that changed without an edit."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    changed = (
        parents["cleaned"]
        .join(parents["revisions"], on=list(ROW), how="inner")
        .filter(pl.col("kept").ne_missing(pl.col("revision")))
    )
    found.count("n_changed_without_edit", ids(changed.join(rows, on=list(ROW), how="anti"), ROW))
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the edits."""
    return [
        n_rows(thresholds.min_rows, None, "there are as many edits as the thresholds ask for"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        within("step", 0, thresholds.max_steps, "no row took endless edits"),
        never("unknown", "every edit belongs to a kept row"),
        never("no_rule", "every edit names its rule"),
        never("step_missing", "the steps of a row are numbered without a gap"),
        never("wrong_span", "start and end enclose what was removed"),
        never("changes_nothing", "every edit changes something"),
        never("not_replayed", "the edits, applied in order to the raw revision, give the kept text"),
        zero("n_changed_without_edit", "no text changed without an edit"),
    ]

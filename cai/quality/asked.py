"""The gate of data/supervised/asked.parquet: what the LLM editor was asked, and that it did nothing unasked."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.cleaned import ASKED as TABLE
from cai.artifacts.cleaned import CLEANED, EDITS
from cai.artifacts.supervised import REVISIONS
from cai.params import Section, Share
from cai.quality.checking.accounting import beside, ids, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, share_at_most, unique, within, zero

ROW = ("prompt_id", "round")
PARENTS = (
    Parent(REVISIONS, (*ROW, pl.col("revision").is_not_null().alias("with_text"))),
    Parent(CLEANED, ROW),
    Parent(EDITS, (*ROW, "rule")),
)
EDITOR = "editor"
"""The rule that the editor's deletions stand under in the log of edits."""
WITH_REASON = ("dropped", "rejected", "failed")


class Thresholds(Section):
    """gates.asked; no row at all is fine where no editor was asked, which `n_editor_edits_unasked` proves."""

    min_rows: int = Field(ge=0)
    max_tries: int = Field(ge=1)
    max_failed_share: float = Share
    max_rejected_share: float = Share


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the editor's verdicts."""
    said = pl.col("reason").is_not_null() & (pl.col("reason").str.strip_chars() != "")
    return beside(frame, parents["revisions"].filter(pl.col("with_text")), ROW).select(
        *ROW,
        "tries",
        "unknown",
        pl.col("status").is_in(["rejected", "failed", "edited", "nothing_to_delete", "dropped"]).alias("was_asked"),
        (pl.col("status") == "edited").fill_null(False).alias("edited"),
        (pl.col("status") == "dropped").fill_null(False).alias("dropped"),
        (pl.col("status") == "rejected").fill_null(False).alias("rejected"),
        (pl.col("status") == "failed").fill_null(False).alias("failed"),
        (pl.col("status").is_in(WITH_REASON) != said).fill_null(True).alias("unexplained"),
        ((pl.col("status") == "not_asked") != (pl.col("tries") == 0)).fill_null(True).alias("strange_tries"),
        (pl.col("answers").is_nan() | ~pl.col("answers").is_between(0.0, 1.0))
        .fill_null(False)
        .alias("strange_probability"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with the edits and the kept rows, and how the editor's replies ended."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    done = parents["edits"].filter(pl.col("rule") == EDITOR).select(ROW).unique()
    found.count("n_editor_edits_unasked", ids(done.join(rows.filter(pl.col("edited")), on=ROW, how="anti"), ROW))
    kept = rows.filter(pl.col("dropped")).join(parents["cleaned"], on=ROW, how="semi")
    found.count("n_dropped_yet_kept", ids(kept, ROW))
    asked = rows.filter(pl.col("was_asked"))
    for name in ("failed", "rejected"):
        found.share(name, int(asked[name].sum()), asked.height)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the editor's verdicts."""
    return [
        n_rows(thresholds.min_rows, sizes.get("revisions"), "there are no more rows asked about than revisions"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row is a revision that has a text"),
        within("tries", 0, thresholds.max_tries, "no row was asked about endlessly"),
        never("strange_tries", "a row was tried exactly where the editor was asked"),
        never("unexplained", "a reason stands exactly where a reply was rejected, failed or ended in a drop"),
        never("strange_probability", "probabilities lie between 0 and 1"),
        zero("n_editor_edits_unasked", "every row that the editor edited was asked about"),
        zero("n_dropped_yet_kept", "no row that a rule dropped after the editor is kept"),
        share_at_most("failed", thresholds.max_failed_share, "few of the requests to the editor failed"),
        share_at_most(
            "rejected", thresholds.max_rejected_share, "not every reply of the editor was rejected", kind="record"
        ),
    ]

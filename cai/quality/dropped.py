"""The gate of data/supervised/dropped.parquet: nothing is lost in silence."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.cleaned import CLEANED
from cai.artifacts.cleaned import DROPPED as TABLE
from cai.artifacts.supervised import REVISIONS
from cai.params import Section, Share
from cai.quality.checking.accounting import beside, ids, unlike, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, share_at_most, unique, zero
from cai.quality.checking.texts import hashed

PARENTS = (
    Parent(REVISIONS, ("prompt_id", "round", hashed("revision").alias("revision"))),
    Parent(CLEANED, ("prompt_id", "round")),
)


class Thresholds(Section):
    """gates.dropped; no row at all is fine where every revision was kept, which the accounting proves."""

    min_rows: int = Field(ge=0)
    max_dropped_share: float = Share
    max_one_reason_share: float = Share


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the dropped rows."""
    return beside(frame, parents["revisions"], TABLE.key).select(
        "prompt_id",
        "round",
        "unknown",
        pl.col("reason").hash().alias("reason_hash"),
        unlike(((hashed("revision"), "revision_parent"),)).alias("other_text"),
        (pl.col("reason").str.strip_chars() == "").fill_null(False).alias("no_reason"),
        (pl.col("rule").str.strip_chars() == "").fill_null(False).alias("no_rule"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting: revisions = kept + dropped; how much was dropped, and whether for one reason."""
    found, key = Facts(), list(TABLE.key)
    unsorted(found, rows, TABLE.key)
    revisions, cleaned = parents["revisions"], parents["cleaned"]
    found.count("n_also_kept", ids(rows.join(cleaned, on=key, how="semi"), key))
    settled = pl.concat([rows.select(key), cleaned.select(key)])
    found.count("n_revisions_lost", ids(revisions.join(settled, on=key, how="anti"), key))
    found.share("dropped", min(rows.height, revisions.height), revisions.height)
    counts = rows.get_column("reason_hash").value_counts(sort=True).get_column("count")
    found.share("one_reason", min(int(counts[0]), revisions.height) if counts.len() else 0, revisions.height)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the dropped rows."""
    return [
        n_rows(thresholds.min_rows, sizes.get("revisions"), "there are no more dropped rows than revisions"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row is a revision"),
        never("other_text", "the text is the revision as it came"),
        never("no_reason", "every row has its reason"),
        never("no_rule", "every row names the rule that dropped it"),
        zero("n_also_kept", "no row is both dropped and kept"),
        zero("n_revisions_lost", "every revision is kept or dropped"),
        share_at_most("dropped", thresholds.max_dropped_share, "not too many of the revisions were dropped"),
        share_at_most(
            "one_reason", thresholds.max_one_reason_share, "no single reason drops too many of the revisions"
        ),
    ]

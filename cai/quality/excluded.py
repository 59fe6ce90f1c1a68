"""The gate of data/preference/excluded.parquet: every pair that is not trained on, with its reason."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.preference import EXCLUDED as TABLE
from cai.artifacts.preference import PREFERENCES, VERDICTS
from cai.params import Section, Share
from cai.quality.checking.accounting import beside, ids, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, share_at_most, unique, zero
from cai.quality.checking.judged import CARD as CARD

PARENTS = (
    Parent(VERDICTS, ("prompt_id", "status")),
    Parent(PREFERENCES, ("prompt_id",)),
)


class Thresholds(Section):
    """gates.excluded; no row at all is fine where every pair is trained on, which the accounting proves."""

    min_rows: int = Field(ge=0)
    max_excluded_share: float = Share


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the excluded pairs."""
    status = pl.col("status_parent")
    return beside(frame, parents["verdicts"], TABLE.key).select(
        "prompt_id",
        "unknown",
        (pl.col("reason").str.strip_chars() == "").fill_null(False).alias("no_reason"),
        ((status != "ok") & (pl.col("reason").str.strip_chars() != "") & (pl.col("reason") != status))
        .fill_null(False)
        .alias("other_reason"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting: verdicts = preferences + excluded."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    verdicts, preferences = parents["verdicts"], parents["preferences"]
    found.count("n_also_preferred", ids(rows.join(preferences, on="prompt_id", how="semi")))
    settled = pl.concat([rows.select("prompt_id"), preferences.select("prompt_id")])
    found.count("n_verdicts_lost", ids(verdicts.join(settled, on="prompt_id", how="anti")))
    found.share("excluded", min(rows.height, verdicts.height), verdicts.height)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the excluded pairs."""
    return [
        n_rows(thresholds.min_rows, sizes.get("verdicts"), "there are no more excluded pairs than verdicts"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row has a verdict"),
        never("no_reason", "every row has its reason"),
        never("other_reason", "where the verdict is not ok its status is the reason"),
        zero("n_also_preferred", "no pair is both excluded and trained on"),
        zero("n_verdicts_lost", "every verdict is excluded or trained on"),
        share_at_most(
            "excluded",
            thresholds.max_excluded_share,
            "few pairs are excluded (the paper: 3 %)",
            severity="judge",
        ),
    ]

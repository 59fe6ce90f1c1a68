"""The gate of data/supervised/critiques.parquet: a critique a response and round, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.supervised import CRITIQUES as TABLE
from cai.artifacts.supervised import RESPONSES
from cai.quality.checking.accounting import beside, ids, missing, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, unique, within, zero
from cai.quality.checking.flaws import Flawed, flaw_checks, flaw_facts, flaws
from cai.quality.checking.generation import Generated, generated, generated_checks, generated_facts
from cai.quality.checking.principles import principle_checks, principle_facts
from cai.quality.checking.texts import meta_talk

PARENTS = (Parent(RESPONSES, ("prompt_id",)),)


class Thresholds(Generated, Flawed):
    """gates.critiques; a critique talks about a response by nature, so its meta talk is bounded by 1."""

    max_rounds: int = Field(ge=1)
    min_principles: int = Field(ge=1)
    max_principle_ratio: float = Field(ge=1.0)


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the critiques."""
    return beside(frame, parents["responses"], ("prompt_id",)).select(
        "prompt_id",
        "round",
        "unknown",
        pl.col("principle_id").hash().alias("principle"),
        (pl.col("principle_id").str.strip_chars() == "").fill_null(False).alias("no_principle"),
        *generated("critique"),
        *flaws(frame, "critique", parents["responses"].height),
        meta_talk("critique").alias("meta_talk"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with the responses, whether rounds are whole, principle usage."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    missing(found, "n_responses_without_critique", parents["responses"], rows, ("prompt_id",))
    per_round = rows.group_by("prompt_id").agg(pl.col("round").n_unique().alias("n"))
    rounds = rows.get_column("round").n_unique()
    found.count("n_without_all_rounds", ids(per_round.filter(pl.col("n") != rounds)))
    disabled = rows.filter(pl.col("disabled"))
    found.count("n_disabled_among_others", ids(disabled, TABLE.key) if disabled.height != rows.height else [])
    generated_facts(rows, found)
    flaw_facts(rows, found)
    principle_facts(rows.get_column("principle"), found)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the critiques."""
    most = sizes["responses"] * thresholds.max_rounds if "responses" in sizes else None
    return [
        n_rows(thresholds.min_rows, most, "there are rows, and no more than responses times rounds"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        within("round", 1, thresholds.max_rounds, f"rounds run from 1 to {thresholds.max_rounds}"),
        never("unknown", "every row belongs to a response"),
        never("no_principle", "every row names its principle"),
        zero("n_responses_without_critique", "every response has a row"),
        zero("n_without_all_rounds", "every prompt went through all rounds"),
        zero("n_disabled_among_others", "critique is disabled for all rows or for none"),
        *generated_checks(thresholds, "critique", kind="record"),
        *flaw_checks(thresholds, "critique"),
        *principle_checks(thresholds.min_principles, thresholds.max_principle_ratio),
    ]

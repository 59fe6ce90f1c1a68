"""The gate of data/supervised/responses.parquet: one response for every supervised prompt, or a reason."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import RESPONSES as TABLE
from cai.quality.checking.accounting import beside, missing, unlike, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, unique, zero
from cai.quality.checking.flaws import Flawed, flaw_checks, flaw_facts, flaws
from cai.quality.checking.generation import Generated, generated, generated_checks, generated_facts
from cai.quality.checking.texts import hashed, hashed_turns, meta_talk

SPLITS = ("sft_train", "sft_test")
PARENTS = (Parent(PROMPTS, ("prompt_id", "split", hashed("prompt").alias("prompt"), hashed_turns().alias("turns"))),)


class Thresholds(Generated, Flawed):
    """gates.responses"""


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the responses."""
    prompts = parents["prompts"].filter(pl.col("split").is_in(SPLITS))
    pairs = (
        (pl.col("split"), "split_parent"),
        (hashed("prompt"), "prompt_parent"),
        (hashed_turns(), "turns_parent"),
    )
    return beside(frame, prompts, ("prompt_id",)).select(
        "prompt_id",
        "unknown",
        unlike(pairs).alias("unlike_prompt"),
        *generated("response"),
        *flaws(frame, "response", parents["prompts"].height),
        meta_talk("response").alias("meta_talk"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with the prompts, and the shares of flaws."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    prompts = parents["prompts"].filter(pl.col("split").is_in(SPLITS))
    missing(found, "n_prompts_without_row", prompts, rows, TABLE.key)
    generated_facts(rows, found)
    flaw_facts(rows, found)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the responses."""
    most = sizes.get("prompts")
    return [
        n_rows(thresholds.min_rows, most, "there are rows, and no more than prompts"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row belongs to a prompt of a supervised split"),
        never("unlike_prompt", "split, prompt and turns are the prompt's own"),
        zero("n_prompts_without_row", "every supervised prompt has a row"),
        *generated_checks(thresholds, "response"),
        *flaw_checks(thresholds, "response"),
    ]

"""The gate of data/preference/samples.parquet: two draws for every preference prompt."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cai.artifacts.preference import SAMPLES as TABLE
from cai.artifacts.prompts import PROMPTS
from cai.params import Share
from cai.quality.checking.accounting import beside, ids, missing, unlike, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, share_at_most, unique, zero
from cai.quality.checking.flaws import Flawed, flaw_checks, flaw_facts, flaws
from cai.quality.checking.generation import Generated, generated, generated_checks, generated_facts
from cai.quality.checking.texts import hashed, hashed_turns, meta_talk

SPLITS = ("pref_train", "pref_test")
SHARED = ("sft_train", "sft_test")
"""Where the preference phase asks the supervised phase's prompts once more (sample.prompts)."""
N_DRAWS = 2
PARENTS = (Parent(PROMPTS, ("prompt_id", "split", hashed("prompt").alias("prompt"), hashed_turns().alias("turns"))),)


class Thresholds(Generated, Flawed):
    """gates.samples"""

    max_identical_pair_share: float = Share


def drawn_from(found: pl.Series) -> tuple[str, str]:
    """The two splits that samples may come from, by those they do come from; a mixed table counts as preferences."""
    return SHARED if found.len() and found.is_in(SHARED).all() else SPLITS


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the samples."""
    prompts = parents["prompts"].filter(pl.col("split").is_in(drawn_from(frame["split"])))
    pairs = ((pl.col("split"), "split_parent"), (hashed("prompt"), "prompt_parent"), (hashed_turns(), "turns_parent"))
    return beside(frame, prompts, ("prompt_id",)).select(
        "prompt_id",
        "draw",
        "unknown",
        (~pl.col("draw").is_in(list(range(N_DRAWS)))).fill_null(False).alias("strange_draw"),
        unlike(pairs).alias("unlike_prompt"),
        *generated("response"),
        *flaws(frame, "response", parents["prompts"].height),
        meta_talk("response").alias("meta_talk"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with the prompts, pairs of equal draws, flaws on record."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    splits = drawn_from(parents["prompts"].join(rows, on="prompt_id", how="semi")["split"])
    # Of the supervised phase's prompts so many are asked again as sample.limits says, which no gate can know.
    prompts = parents["prompts"].filter(pl.col("split").is_in(SPLITS) & pl.lit(splits == SPLITS))
    missing(found, "n_prompts_without_row", prompts, rows, ("prompt_id",))
    draws = (
        rows.filter(~pl.col("strange_draw"))
        .group_by("prompt_id")
        .agg(
            pl.col("draw").n_unique().alias("n"),
            (
                (pl.len() == N_DRAWS) & pl.col("text_hash").is_not_null().all() & (pl.col("text_hash").n_unique() == 1)
            ).alias("same"),
            pl.col("text_hash").is_not_null().all().alias("with_text"),
        )
    )
    found.count("n_without_both_draws", ids(draws.filter(pl.col("n") != N_DRAWS)))
    pairs = draws.filter(pl.col("with_text") & (pl.col("n") == N_DRAWS))
    found.share("identical_pair", int(pairs["same"].sum()), pairs.height)
    generated_facts(rows, found)
    flaw_facts(rows, found)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the samples."""
    most = sizes["prompts"] * N_DRAWS if "prompts" in sizes else None
    return [
        n_rows(thresholds.min_rows, most, "there are rows, and no more than two a prompt"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row belongs to a prompt of a preference split"),
        never("unlike_prompt", "split, prompt and turns are the prompt's own"),
        never("strange_draw", "draws are 0 and 1"),
        zero("n_prompts_without_row", "every preference prompt has rows"),
        zero("n_without_both_draws", "every prompt has both draws"),
        *generated_checks(thresholds, "response"),
        share_at_most(
            "identical_pair", thresholds.max_identical_pair_share, "the two draws of a prompt differ, mostly"
        ),
        *flaw_checks(thresholds, "response"),
    ]

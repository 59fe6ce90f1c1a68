"""The gate of data/preference/verdicts.parquet: one verdict a pair, consistent in itself, from a judge worth asking."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.preference import SAMPLES
from cai.artifacts.preference import VERDICTS as TABLE
from cai.params import Section, Share
from cai.quality.checking.accounting import beside, missing, unlike, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, fact_within, n_rows, never, share_at_most, unique, zero
from cai.quality.checking.judged import CARD as CARD
from cai.quality.checking.judged import two_sided_checks, two_sided_facts
from cai.quality.checking.principles import principle_checks, principle_facts
from cai.quality.checking.texts import hashed

PARENTS = (Parent(SAMPLES, ("prompt_id", "draw", hashed("response").alias("response"))),)
PROBABILITIES = ("p_first", "p_second", "p", "label_mass_first", "label_mass_second")


class Thresholds(Section):
    """gates.verdicts"""

    min_rows: int = Field(ge=1)
    max_error_share: float = Share
    max_unparsed_share: float = Share
    max_refused_share: float = Share
    max_tie_share: float = Share
    max_flip_share: float = Share
    max_position_bias: float = Share
    max_draw_imbalance: float = Share
    max_low_label_mass_share: float = Share
    min_principles: int = Field(ge=1)
    max_principle_ratio: float = Field(ge=1.0)


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the verdicts."""
    samples = parents["samples"]
    draws = [
        samples.filter(pl.col("draw") == draw).select("prompt_id", pl.col("response").alias(name))
        for draw, name in ((0, "response_a"), (1, "response_b"))
    ]
    both = draws[0].join(draws[1], on="prompt_id", how="full", coalesce=True)
    pairs = ((hashed("response_a"), "response_a_parent"), (hashed("response_b"), "response_b_parent"))
    ok, first, second, p = pl.col("status") == "ok", pl.col("p_first"), pl.col("p_second"), pl.col("p")
    mean = pl.when(second.is_null()).then(first).otherwise((first + second) / 2)
    return beside(frame, both, ("prompt_id",)).select(
        "prompt_id",
        "unknown",
        unlike(pairs).alias("other_texts"),
        pl.col("principle_id").hash().alias("principle"),
        (pl.col("principle_id").str.strip_chars() == "").fill_null(False).alias("no_principle"),
        (pl.col("judge").str.strip_chars() == "").fill_null(False).alias("no_judge"),
        pl.col("judge").hash().alias("judge_hash"),
        pl.any_horizontal(
            (pl.col(name).is_nan() | ~pl.col(name).is_between(0.0, 1.0)).fill_null(False) for name in PROBABILITIES
        ).alias("strange_probability"),
        (ok & (p.is_null() | first.is_null())).fill_null(False).alias("ok_without_p"),
        (p.is_not_null() & ((p - mean).abs() > 1e-6)).fill_null(False).alias("p_is_no_mean"),
        (
            pl.col("flip").is_not_null()
            & (first.is_null() | second.is_null() | (pl.col("flip") != ((first > 0.5) != (second > 0.5))))
        )
        .fill_null(False)
        .alias("wrong_flip"),
        (ok & (p == 0.5)).fill_null(False).alias("ok_without_preference"),
        (ok != (pl.col("reason").is_null() | (pl.col("reason").str.strip_chars() == "")))
        .fill_null(True)
        .alias("unexplained"),
        (pl.col("status") == "error").fill_null(False).alias("error"),
        (pl.col("status") == "unparsed").fill_null(False).alias("unparsed"),
        (pl.col("status") == "refused").fill_null(False).alias("refused"),
        (pl.col("status") == "tie").fill_null(False).alias("tie"),
        ok.fill_null(False).alias("ok"),
        (ok & (p > 0.5)).fill_null(False).alias("a_wins"),
        pl.col("flip").fill_null(False).alias("flip"),
        pl.col("flip").is_not_null().alias("both_orders"),
        ((first > 0.5).cast(pl.Int64) + (second < 0.5).cast(pl.Int64)).fill_null(0).alias("n_first_shown_wins"),
        (pl.min_horizontal("label_mass_first", "label_mass_second") < 0.5).fill_null(False).alias("low_label_mass"),
        pl.col("label_mass_first").is_not_null().alias("with_label_mass"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with the samples, what came of the pairs, balance, position bias."""
    found, n = Facts(), rows.height
    unsorted(found, rows, TABLE.key)
    missing(found, "n_samples_without_verdict", parents["samples"], rows, TABLE.key)
    found["n_judges"] = rows.filter(~pl.col("no_judge")).get_column("judge_hash").n_unique()
    for name in ("error", "unparsed", "refused"):
        found.share(name, int(rows[name].sum()), n)
    # A pair that failed says nothing about the judge's certainty.
    judged = rows.filter(pl.col("ok") | pl.col("tie"))
    found.share("tie", int(judged["tie"].sum()), judged.height)
    twice = rows.filter(pl.col("both_orders"))
    found.share("flip", int(twice["flip"].sum()), twice.height)
    two_sided_facts(found, "first_shown_wins", int(twice["n_first_shown_wins"].sum()), 2 * twice.height)
    decided = rows.filter(pl.col("ok"))
    two_sided_facts(found, "a_wins", int(decided["a_wins"].sum()), decided.height)
    weighed = rows.filter(pl.col("with_label_mass"))
    found.share("low_label_mass", int(weighed["low_label_mass"].sum()), weighed.height)
    principle_facts(rows.get_column("principle"), found)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the verdicts."""
    return [
        n_rows(thresholds.min_rows, sizes.get("samples"), "there are rows, and no more than samples"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row belongs to a sampled prompt"),
        zero("n_samples_without_verdict", "every sampled prompt has a verdict"),
        never("other_texts", "response_a is draw 0 and response_b is draw 1"),
        never("no_principle", "every row names its principle"),
        never("no_judge", "every row names its judge"),
        fact_within("n_judges", 0, 1, "one judge gave all verdicts"),
        never("strange_probability", "probabilities lie between 0 and 1"),
        never("ok_without_p", "a verdict that is ok has its p"),
        never("p_is_no_mean", "p is the mean over the orders asked"),
        never("wrong_flip", "flip says whether the orders prefer different responses"),
        never("ok_without_preference", "a verdict that is ok prefers one response"),
        never("unexplained", "a verdict says why exactly when it is not ok"),
        share_at_most("error", thresholds.max_error_share, "few pairs could not be judged at all"),
        share_at_most("unparsed", thresholds.max_unparsed_share, "few replies name no option", severity="judge"),
        share_at_most("refused", thresholds.max_refused_share, "the judge seldom refuses", severity="judge"),
        share_at_most("tie", thresholds.max_tie_share, "the judge is seldom uncertain", severity="judge"),
        share_at_most("flip", thresholds.max_flip_share, "the orders seldom disagree", severity="judge"),
        share_at_most(
            "low_label_mass",
            thresholds.max_low_label_mass_share,
            "the judge mostly names a label",
            severity="judge",
        ),
        *two_sided_checks(
            "first_shown_wins",
            thresholds.max_position_bias,
            "the response shown first wins about half",
            "judge",
        ),
        *two_sided_checks(
            "a_wins", thresholds.max_draw_imbalance, "response_a wins about half: the draws are exchangeable"
        ),
        *principle_checks(thresholds.min_principles, thresholds.max_principle_ratio),
    ]

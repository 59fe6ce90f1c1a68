"""The gate of data/evaluation/answers_<model>.parquet: every question was answered, or the reason stands there."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cai.artifacts.evaluation import ANSWERS as TABLE
from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.prompts import PROMPTS
from cai.quality.checking.accounting import ids, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, fact_within, n_rows, never, unique, zero
from cai.quality.checking.generation import Generated, generated, generated_checks, generated_facts
from cai.quality.checking.texts import hashed

PARENTS = (
    Parent(EVALUATION_PROMPTS, ("prompt_id", "set", "turns_text")),
    Parent(PROMPTS, ("prompt_id", "split", hashed("prompt").alias("prompt"))),
)


class Thresholds(Generated):
    """gates.answers: one block for the answers of all models, so that they are held to the same"""

    min_heldout: int


def _asked(parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """What may be asked: prompt_id, turn, set, hash of the turn's text."""
    evaluation = (
        parents["evaluation_prompts"]
        .explode("turns_text")
        .filter(pl.col("turns_text").is_not_null())
        .with_columns((pl.int_range(pl.len(), dtype=pl.Int32).over("prompt_id") + 1).cast(pl.Int32).alias("turn"))
        .select("prompt_id", "turn", pl.col("set").alias("asked_set"), hashed("turns_text").alias("asked"))
    )
    heldout = (
        parents["prompts"]
        .filter(pl.col("split") == "heldout")
        .select(
            "prompt_id",
            pl.lit(1, dtype=pl.Int32).alias("turn"),
            pl.lit("heldout").alias("asked_set"),
            pl.col("prompt").alias("asked"),
        )
    )
    return pl.concat([evaluation, heldout]).unique(subset=["prompt_id", "turn"], keep="first")


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the answers."""
    known = pl.col("asked").is_not_null()
    counted = pl.col("token_ids").list.len().cast(pl.Int64) != pl.col("completion_tokens").cast(pl.Int64)
    return frame.join(_asked(parents), on=["prompt_id", "turn"], how="left", maintain_order="left").select(
        "prompt_id",
        "turn",
        "set",
        (~known).alias("unknown"),
        (known & (pl.col("set") != pl.col("asked_set"))).fill_null(False).alias("other_set"),
        (known & hashed("prompt").ne_missing(pl.col("asked"))).alias("other_prompt"),
        counted.fill_null(False).alias("miscounted"),
        *generated("response"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with evaluation and held-out prompts."""
    found, key = Facts(), list(TABLE.key)
    unsorted(found, rows, TABLE.key)
    asked = _asked(parents).filter(pl.col("asked_set") != "heldout")
    found.count("n_questions_lost", ids(asked.join(rows.select(key), on=key, how="anti"), key))
    found["n_heldout"] = int((rows["set"] == "heldout").sum())
    generated_facts(rows, found)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the answers."""
    return [
        n_rows(thresholds.min_rows, None, "there are rows"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row answers an evaluation prompt or a held-out prompt"),
        zero("n_questions_lost", "every turn of every evaluation prompt has a row"),
        fact_within("n_heldout", thresholds.min_heldout, None, "held-out prompts were answered"),
        never("other_set", "the set is the prompt's own"),
        never("other_prompt", "the prompt is the turn that was asked"),
        never("miscounted", "there are as many token ids as completion tokens"),
        *generated_checks(thresholds, "answer", kind="record"),
    ]

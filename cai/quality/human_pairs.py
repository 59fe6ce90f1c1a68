"""The gate of data/preference/human_pairs.parquet: pairs that people chose, which dpo trains on beside the judge's.

No pairs are fine where `pair.helpful` names no source, and no parent could tell: how many there have to be stands in
the summary of `pair`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import Field

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.preference import HUMAN_PAIRS as TABLE
from cai.artifacts.prompts import PROMPTS
from cai.params import Section, Share
from cai.quality.checking.accounting import unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, below, n_rows, never, share_at_most, unique, within, zero
from cai.quality.checking.leaks import HELD_OUT, LEAST, evaluation_similarity, human_turns, said_in
from cai.quality.checking.texts import blank, hashed, most_common, n_chars

ACCOUNT = "metrics/pair.json"
PARENTS = (Parent(EVALUATION_PROMPTS, ("turns_text",)), Parent(PROMPTS, (HELD_OUT,)))


class Thresholds(Section):
    """gates.human_pairs; no row at all is fine where none was asked for, which `n_pairs_unaccounted` proves."""

    min_rows: int = Field(ge=0)
    max_chars: int = Field(ge=1)
    evaluation_similarity: float = Field(ge=LEAST, le=1.0)
    max_length_only_accuracy: float = Field(ge=0.5, le=1.0)
    max_same_chosen_share: float = Share


def account(summary: Mapping[str, Any]) -> pl.DataFrame:
    """How many pairs `pair` kept of its source; 0 where it had none."""
    (detail,) = summary["detail"]
    return pl.DataFrame({"n_kept": [int(detail.get("helpful", {"n_kept": 0})["n_kept"])]})


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Ids, lengths and flags of the human pairs."""
    said, last = human_turns(frame), pl.col("turns").list.last()
    asked = parents["evaluation_prompts"].get_column("turns_text").explode()
    return frame.select(
        "pair_id",
        blank("prompt").alias("prompt_blank"),
        (last.struct.field("text").ne_missing(pl.col("prompt")) | last.struct.field("role").ne_missing(pl.lit("user")))
        .fill_null(True)
        .alias("not_last_turn"),
        blank("chosen").alias("chosen_blank"),
        blank("rejected").alias("rejected_blank"),
        pl.max_horizontal(n_chars("prompt"), n_chars("chosen"), n_chars("rejected")).alias("n_chars"),
        (pl.col("chosen").str.strip_chars() == pl.col("rejected").str.strip_chars())
        .fill_null(False)
        .alias("same_text"),
        (n_chars("chosen") - n_chars("rejected")).alias("longer_by"),
        hashed("chosen").alias("chosen_hash"),
        evaluation_similarity(frame.height, said, asked),
        evaluation_similarity(frame.height, said, said_in(parents["prompts"])).alias("heldout_similarity"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with what `pair` kept, and what the labels could be read from."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    found["n_pairs_unaccounted"] = abs(rows.height - int(parents["account"]["n_kept"][0]))
    unequal = rows.filter(pl.col("longer_by") != 0)
    longer = int((unequal["longer_by"] > 0).sum())
    found.share("length_only", max(longer, unequal.height - longer), unequal.height)
    found.share("same_chosen", most_common(rows.get_column("chosen_hash")), rows.height)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the human pairs."""
    near = "or holds one or nearly one (share of its word 3-grams)"
    return [
        n_rows(thresholds.min_rows, None, "there are as many pairs as the thresholds ask for"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        zero("n_pairs_unaccounted", "there are as many pairs as `pair` kept of its source"),
        never("prompt_blank", "no prompt is blank"),
        never("not_last_turn", "the prompt is the last turn, and a user's"),
        never("chosen_blank", "no chosen response is blank"),
        never("rejected_blank", "no rejected response is blank"),
        within("n_chars", 1, thresholds.max_chars, f"no text is longer than {thresholds.max_chars} characters"),
        never("same_text", "chosen differs from rejected"),
        below(
            "evaluation_similarity",
            thresholds.evaluation_similarity,
            f"no human turn is a turn of an evaluation prompt, {near}",
        ),
        below(
            "heldout_similarity",
            thresholds.evaluation_similarity,
            f"no human turn is a turn of a held-out prompt, {near}",
        ),
        share_at_most(
            "length_only",
            thresholds.max_length_only_accuracy,
            "length alone does not tell which response was chosen",
        ),
        share_at_most("same_chosen", thresholds.max_same_chosen_share, "no single response is chosen again and again"),
    ]

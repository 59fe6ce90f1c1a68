"""The gate of data/supervised/instructions.parquet: helpful rows, apart from all that is evaluated and each other."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.instructions import INSTRUCTIONS as TABLE
from cai.artifacts.prompts import PROMPTS
from cai.params import Section, Share
from cai.quality.checking.accounting import ids, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import (
    Check,
    Parent,
    below,
    fact_within,
    n_rows,
    never,
    share_at_most,
    unique,
    within,
    zero,
)
from cai.quality.checking.leaks import HELD_OUT, LEAST, evaluation_similarity, human_turns, said_in, turn_hash
from cai.quality.checking.texts import blank, hashed, n_chars, near_repeats

PARENTS = (Parent(EVALUATION_PROMPTS, ("turns_text",)), Parent(PROMPTS, (HELD_OUT,)))


class Thresholds(Section):
    """gates.instructions"""

    min_train_rows: int = Field(ge=1)
    min_test_rows: int = Field(ge=0)
    max_chars: int = Field(ge=1)
    evaluation_similarity: float = Field(ge=LEAST, le=1.0)
    max_near_repeat_share: float = Share
    max_same_text_share: float = Share


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Ids, splits and flags of the instructions."""
    asked = parents["evaluation_prompts"].get_column("turns_text").explode()
    said, last = human_turns(frame), pl.col("turns").list.last().struct.field("text")
    return frame.select(
        "instruction_id",
        "split",
        blank("prompt").alias("prompt_blank"),
        blank("response").alias("response_blank"),
        pl.max_horizontal(n_chars("prompt"), n_chars("response")).alias("n_chars"),
        last.ne_missing(pl.col("prompt")).alias("not_last_turn"),
        (pl.col("prompt").str.strip_chars() == pl.col("response").str.strip_chars()).fill_null(False).alias("echo"),
        turn_hash(frame.height, said, "last").alias("prompt_hash"),
        hashed("response").alias("text_hash"),
        near_repeats(frame.get_column("response")).alias("near_repeat"),
        evaluation_similarity(frame.height, said, asked),
        evaluation_similarity(frame.height, said, said_in(parents["prompts"])).alias("heldout_similarity"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Sizes of the splits and what they share."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    for split in ("train", "test"):
        found[f"n_{split}"] = int((rows["split"] == split).sum())
    found.count(
        "n_same_prompt",
        ids(rows.filter(pl.col("prompt_hash").is_not_null() & pl.col("prompt_hash").is_duplicated()), TABLE.key),
    )
    counts = rows.get_column("text_hash").value_counts(sort=True).get_column("count")
    found.share("same_text", int(counts[0]) if counts.len() else 0, rows.height)
    found.share("near_repeat", int(rows["near_repeat"].sum()), rows.height)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the instructions."""
    return [
        n_rows(thresholds.min_train_rows + thresholds.min_test_rows, None, "there are rows"),
        fact_within("n_train", thresholds.min_train_rows, None, "there are rows to train on"),
        fact_within("n_test", thresholds.min_test_rows, None, "there are rows to test on"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("prompt_blank", "no prompt is blank"),
        never("response_blank", "no response is blank"),
        within("n_chars", 1, thresholds.max_chars, f"no text is longer than {thresholds.max_chars} characters"),
        never("not_last_turn", "the prompt is the last turn"),
        never("echo", "no response only repeats its prompt"),
        zero("n_same_prompt", "no prompt stands there twice, in one split or in both"),
        below(
            "evaluation_similarity",
            thresholds.evaluation_similarity,
            "no human turn is a turn of an evaluation prompt, or holds one or nearly one (share of its word 3-grams)",
        ),
        below(
            "heldout_similarity",
            thresholds.evaluation_similarity,
            "no human turn is a turn of a held-out prompt, or holds one or nearly one (share of its word 3-grams)",
        ),
        share_at_most("same_text", thresholds.max_same_text_share, "no single response is given again and again"),
        share_at_most(
            "near_repeat", thresholds.max_near_repeat_share, "few responses say ten words in a row three times"
        ),
    ]

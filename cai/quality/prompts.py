"""The gate of data/supervised/prompts.parquet: nothing leaks between splits, nor from the evaluation."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.prompts import PROMPTS as TABLE
from cai.artifacts.prompts import SPLITS
from cai.dialogue import Turn, prompt_id
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
from cai.quality.checking.leaks import LEAST, evaluation_similarity, human_turns, turn_hash
from cai.quality.checking.texts import blank, n_chars

PARENTS = (Parent(EVALUATION_PROMPTS, ("turns_text",)),)


class Thresholds(Section):
    """gates.prompts"""

    min_rows: int = Field(ge=1)
    min_rows_per_split: int = Field(ge=0)
    max_chars: int = Field(ge=1)
    evaluation_similarity: float = Field(ge=LEAST, le=1.0)
    max_cluster_share: float = Share
    max_role_tag_share: float = Share
    max_one_word_share: float = Share


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Ids, splits, clusters and flags of the prompts."""
    said = human_turns(frame)
    last = pl.col("turns").list.last()
    return frame.select(
        "prompt_id",
        "split",
        "cluster_id",
        "n_turns",
        blank("prompt").alias("blank"),
        n_chars("prompt").alias("n_chars"),
        (pl.col("n_turns").cast(pl.Int64) != pl.col("turns").list.len().cast(pl.Int64))
        .fill_null(True)
        .alias("miscounted"),
        (last.struct.field("text").ne_missing(pl.col("prompt")) | last.struct.field("role").ne_missing(pl.lit("user")))
        .fill_null(True)
        .alias("not_last_turn"),
        (
            # The last turn has checks of its own.
            pl.col("turns")
            .list.slice(0, (pl.col("turns").list.len().cast(pl.Int64) - 1).clip(0))
            .list.eval(
                ~pl.element().struct.field("role").is_in(["system", "user", "assistant"])
                | (pl.element().struct.field("text").str.strip_chars() == "")
            )
        )
        .list.any()
        .fill_null(True)
        .alias("broken_turn"),
        pl.col("prompt").str.contains(r"\n\n(?:Human|Assistant):").fill_null(False).alias("role_tag"),
        (~pl.col("prompt").str.strip_chars().str.contains(r"\s")).fill_null(False).alias("one_word"),
        _misnamed(frame).alias("misnamed"),
        evaluation_similarity(frame.height, said, parents["evaluation_prompts"].get_column("turns_text").explode()),
        turn_hash(frame.height, said, "first").alias("opening"),
    )


def _misnamed(frame: pl.DataFrame) -> pl.Series:
    flat = frame.select(pl.col("turns").explode(empty_as_null=False)).unnest("turns")
    turns = list(map(Turn, flat.get_column("role").to_list(), flat.get_column("text").to_list()))
    ends = frame.get_column("turns").list.len().fill_null(0).cum_sum().to_list()
    names, start = [], 0
    for end in ends:
        whole = end > start and all(turn.role is not None and turn.text is not None for turn in turns[start:end])
        names.append(prompt_id(turns[start:end]) if whole else None)
        start = end
    right = pl.Series(names, dtype=pl.String)
    return frame.get_column("prompt_id").ne_missing(right) | right.is_null()


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Sizes of splits, clusters and openings in two of them."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    straying = rows.filter(pl.col("split").n_unique().over("cluster_id") > 1)
    found.count("n_in_straying_clusters", ids(straying))
    # Asked of the texts themselves, not of the clusters: an opening in two splits is a clustering that failed.
    opened = rows.filter(pl.col("opening").is_not_null() & (pl.col("split").n_unique().over("opening") > 1))
    found.count("n_openings_in_two_splits", ids(opened))
    sizes = rows.group_by("split").len()
    counts = dict(zip(sizes["split"].to_list(), sizes["len"].to_list(), strict=True))
    for split in SPLITS:
        found[f"n_{split}"] = counts.get(split, 0)
    largest = rows.group_by("cluster_id").len().get_column("len").max() if rows.height else 0
    found.share("cluster", int(largest), rows.height)  # type: ignore[arg-type]
    found.share("role_tag", int(rows["role_tag"].sum()), rows.height)
    found.share("one_word", int(rows["one_word"].sum()), rows.height)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the prompts."""
    return [
        n_rows(thresholds.min_rows, None, f"at least {thresholds.min_rows} prompts were kept"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("blank", "no prompt is blank"),
        within("n_chars", 1, thresholds.max_chars, f"a prompt has 1 to {thresholds.max_chars} characters"),
        never("misnamed", "prompt_id is the hash of the context's roles and texts"),
        never("miscounted", "n_turns is the number of turns"),
        never("not_last_turn", "the prompt is the last turn, and a user's"),
        never("broken_turn", "every turn before the last has a known role and words"),
        below(
            "evaluation_similarity",
            thresholds.evaluation_similarity,
            "no human turn is a turn of an evaluation prompt, or holds one or nearly one (share of its word 3-grams)",
        ),
        zero("n_in_straying_clusters", "no cluster stands in two splits"),
        zero("n_openings_in_two_splits", "no first human turn opens prompts of two splits"),
        *(
            fact_within(f"n_{split}", thresholds.min_rows_per_split, None, f"split {split} has rows")
            for split in SPLITS
        ),
        share_at_most("cluster", thresholds.max_cluster_share, "no cluster of near duplicates dominates"),
        share_at_most("role_tag", thresholds.max_role_tag_share, "few prompts hold a transcript's role tag"),
        share_at_most("one_word", thresholds.max_one_word_share, "few prompts are a single word"),
    ]

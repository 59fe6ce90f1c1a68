"""The gate of data/evaluation/prompts.parquet: benchmarks that are whole and named."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.evaluation import EVALUATION_PROMPTS as TABLE
from cai.params import Section
from cai.quality.checking.accounting import ids, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, fact_within, n_rows, never, unique, within, zero

PARENTS: tuple[Parent, ...] = ()
MTBENCH_TURNS = 2


class Thresholds(Section):
    """gates.evaluation_prompts"""

    min_rows: int = Field(ge=1)
    min_sets: int = Field(ge=1)
    max_chars: int = Field(ge=1)


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Ids, sets and flags of the evaluation prompts."""
    turns = pl.col("turns_text")
    return frame.select(
        "prompt_id",
        "set",
        "item_id",
        turns.list.eval(pl.element().str.strip_chars()).list.join("\x1e").hash().alias("text_hash"),
        (turns.list.len() == 0).fill_null(False).alias("no_turn"),
        turns.list.eval(pl.element().is_null() | (pl.element().str.strip_chars() == ""))
        .list.any()
        .fill_null(False)
        .alias("blank_turn"),
        turns.list.eval(pl.element().str.len_chars()).list.max().fill_null(0).cast(pl.Int64).alias("n_chars"),
        (pl.col("set").str.strip_chars() == "").fill_null(False).alias("no_set"),
        (pl.col("item_id").str.strip_chars() == "").fill_null(False).alias("no_item"),
        (pl.col("reference").list.len() > turns.list.len()).fill_null(False).alias("stray_reference"),
        ((pl.col("set") == "mtbench") & (turns.list.len() > 0) & (turns.list.len() != MTBENCH_TURNS))
        .fill_null(False)
        .alias("mtbench_turns"),
        (pl.col("temperature").is_not_null() & ~pl.col("temperature").is_between(0.0, 2.0))
        .fill_null(False)
        .alias("strange_temperature"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Number of sets, items and prompts that stand there twice."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    found["n_sets"] = rows.get_column("set").n_unique()
    found.count("n_same_item", ids(rows.filter(pl.struct("set", "item_id").is_duplicated())))
    found.count("n_same_prompt", ids(rows.filter(pl.struct("set", "text_hash").is_duplicated())))
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the evaluation prompts."""
    return [
        n_rows(thresholds.min_rows, None, "there are enough prompts to evaluate on"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        fact_within("n_sets", thresholds.min_sets, None, f"there are at least {thresholds.min_sets} sets"),
        never("no_set", "every prompt names its set"),
        never("no_item", "every prompt names its item"),
        zero("n_same_item", "no item stands twice in a set"),
        zero("n_same_prompt", "no prompt stands twice in a set"),
        never("no_turn", "every prompt has a turn"),
        never("blank_turn", "no turn is blank"),
        within("n_chars", 0, thresholds.max_chars, f"no turn is longer than {thresholds.max_chars} characters"),
        never("mtbench_turns", "MT-Bench questions have two turns"),
        never("stray_reference", "there is no reference answer without its turn"),
        never("strange_temperature", "a temperature lies between 0 and 2"),
    ]

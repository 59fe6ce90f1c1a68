"""References and accounting between a table and the table it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from cai.quality.checking.bounds import Facts


def ids(frame: pl.DataFrame, key: Sequence[str] = ("prompt_id",)) -> list[str]:
    """The keys of the rows as ``prompt_id/round``."""
    return ["/".join(str(part) for part in row) for row in frame.select(key).rows()]


def missing(facts: Facts, name: str, expected: pl.DataFrame, found: pl.DataFrame, key: Sequence[str]) -> None:
    """Count the keys of ``expected`` that ``found`` lacks."""
    lost = expected.select(key).unique().join(found.select(key).unique(), on=list(key), how="anti")
    facts.count(name, ids(lost, key))


def beside(frame: pl.DataFrame, parent: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The frame with the parent's other columns as ``<column>_parent``, and ``unknown`` where it has no row."""
    other = parent.unique(subset=list(key), keep="first").rename(
        {name: f"{name}_parent" for name in parent.columns if name not in key}
    )
    return frame.join(
        other.with_columns(pl.lit(True).alias("_known")), on=list(key), how="left", maintain_order="left"
    ).with_columns(pl.col("_known").is_null().alias("unknown"))


def unlike(pairs: Iterable[tuple[pl.Expr, str]]) -> pl.Expr:
    """Whether a known row differs from its parent in any of (expression, parent column)."""
    different = [expression.ne_missing(pl.col(column)) for expression, column in pairs]
    return (pl.any_horizontal(different) & ~pl.col("unknown")).fill_null(True)


def unsorted(facts: Facts, rows: pl.DataFrame, key: Sequence[str]) -> None:
    """Count the rows that the sort by key would move."""
    order = rows.select(key).with_row_index("_row").sort(list(key), maintain_order=True).get_column("_row")
    moved = (order != pl.Series(range(rows.height), dtype=order.dtype)).arg_true()
    facts.count("n_unsorted", ids(rows[moved.to_list()], key))

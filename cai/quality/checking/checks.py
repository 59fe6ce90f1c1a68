"""What a check is: one standard expectation of Great Expectations as plain data, its kind, its frame, its sentence.

Suites hold checks as data, so that reading thresholds out of params.yaml does not import Great Expectations.

Kinds. *invariant*: keys, schema, accounting, references, the cleaner's guarantees; no tolerance. *fitness*: a share
that fails only when its Wilson bound passes the threshold. *record*: expected flaws, bounded only against nonsense.

Frames. *header*: no rows, the artifact's columns. *shape*: one row per column (dtype, nulls, values). *rows*: the slim
frame, one row per row of the artifact, flags and lengths without text. *facts*: one row about the whole table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from cai.artifacts.table import Table

Kind = Literal["invariant", "fitness", "record"]
Severity = Literal["critical", "warning", "judge"]
FrameName = Literal["header", "shape", "rows", "facts"]


@dataclass(frozen=True)
class Parent:
    """A table that a suite refers to, and the expressions over it that the suite needs: keys, hashes, never more."""

    table: Table
    columns: tuple[pl.Expr | str, ...]


@dataclass(frozen=True)
class Check:
    """One expectation.

    Attributes:
        expectation: name of a class in ``great_expectations.expectations``.
        arguments: its keyword arguments.
        kind: invariant, fitness or record.
        frame: what it is validated on.
        words: what it says, in one sentence.
        severity: a warning is shown and never fails the gate; ``judge`` is what the judge's card says, see `judged`.
        share: the fact to show as observed, where the expectation is on a bound of it.
        flag: the column of the rows frame whose true rows are the ones to look at.
        worst_by: the column of the rows frame that tells which of them are worst, largest first.
    """

    expectation: str
    arguments: Mapping[str, Any]
    kind: Kind
    frame: FrameName
    words: str
    severity: Severity = "critical"
    share: str | None = None
    flag: str | None = None
    worst_by: str | None = None
    threshold: Any = field(default=0)

    @property
    def column(self) -> str | None:
        """The column or columns it is about, in words; None for a table expectation."""
        if self.share is not None:
            return self.share
        if "column_list" in self.arguments:
            return "+".join(self.arguments["column_list"]) if self.frame == "rows" else None
        return self.arguments.get("column")


# --- on the rows frame ------------------------------------------------------------------------------------------------


def n_rows(least: int, most: int | None, words: str) -> Check:
    """The table has between least and most rows; a bound by the parent never lies below the least."""
    most = None if most is None else max(least, most)
    return Check(
        "ExpectTableRowCountToBeBetween",
        {"min_value": least, "max_value": most},
        "invariant",
        "rows",
        words,
        threshold=[least, most],
    )


def unique(key: tuple[str, ...]) -> Check:
    """No two rows share the key."""
    words = f"no two rows share {' and '.join(key)}"
    if len(key) == 1:
        return Check("ExpectColumnValuesToBeUnique", {"column": key[0]}, "invariant", "rows", words)
    arguments = {"column_list": list(key)}
    return Check("ExpectCompoundColumnsToBeUnique", arguments, "invariant", "rows", words)


def never(flag: str, words: str, worst_by: str | None = None) -> Check:
    """No row carries the flag."""
    arguments = {"column": flag, "value_set": [False]}
    return Check("ExpectColumnValuesToBeInSet", arguments, "invariant", "rows", words, flag=flag, worst_by=worst_by)


def within(column: str, least: float | None, most: float | None, words: str) -> Check:
    """Every row's value lies between least and most."""
    return Check(
        "ExpectColumnValuesToBeBetween",
        {"column": column, "min_value": least, "max_value": most},
        "invariant",
        "rows",
        words,
        threshold=[least, most],
    )


def below(column: str, limit: float, words: str) -> Check:
    """Every row's value lies below the limit."""
    arguments = {"column": column, "max_value": limit, "strict_max": True}
    return Check(
        "ExpectColumnValuesToBeBetween", arguments, "invariant", "rows", words, worst_by=column, threshold=[None, limit]
    )


# --- on the facts -----------------------------------------------------------------------------------------------------


def zero(fact: str, words: str) -> Check:
    """The fact, a count of what must not be, is 0."""
    return fact_within(fact, 0, 0, words)


def fact_within(
    fact: str,
    least: float | None,
    most: float | None,
    words: str,
    kind: Kind = "invariant",
    severity: Severity = "critical",
) -> Check:
    """The fact lies between least and most."""
    return Check(
        "ExpectColumnMaxToBeBetween",
        {"column": fact, "min_value": least, "max_value": most},
        kind,
        "facts",
        words,
        severity,
        threshold=least if least == most else [least, most],
    )


def share_at_most(
    name: str,
    most: float,
    words: str,
    *,
    kind: Kind = "fitness",
    severity: Severity = "critical",
    worst_by: str | None = None,
) -> Check:
    """The lower Wilson bound of ``<name>_share`` is at most the threshold; rows flagged ``<name>`` are its cases."""
    return Check(
        "ExpectColumnMaxToBeBetween",
        {"column": f"{name}_share_low", "max_value": most},
        kind,
        "facts",
        words,
        severity,
        share=f"{name}_share",
        flag=name,
        worst_by=worst_by,
        threshold=most,
    )


def share_at_least(
    name: str, least: float, words: str, *, kind: Kind = "fitness", severity: Severity = "critical"
) -> Check:
    """The upper Wilson bound of ``<name>_share`` is at least the threshold."""
    return Check(
        "ExpectColumnMinToBeBetween",
        {"column": f"{name}_share_high", "min_value": least},
        kind,
        "facts",
        words,
        severity,
        share=f"{name}_share",
        threshold=least,
    )


# --- on the shape -----------------------------------------------------------------------------------------------------


def shape(table: Table) -> list[Check]:
    """The checks that every table has: columns, dtypes, nulls, values, numbers, texts."""
    columns = list(table.schema)

    def _all(column: str, words: str) -> Check:
        arguments = {"column": column, "min_value": 0, "max_value": 0}
        return Check("ExpectColumnValuesToBeBetween", arguments, "invariant", "shape", words)

    return [
        Check(
            "ExpectTableColumnsToMatchOrderedList",
            {"column_list": columns},
            "invariant",
            "header",
            "the columns are the declared ones in the declared order",
            threshold=len(columns),
        ),
        _all("n_wrong_dtype", "every column is there with its declared dtype"),
        _all("n_undeclared_null", "nulls stand only where the declaration allows them"),
        _all("n_undeclared_value", "columns with a declared set of values hold nothing else"),
        _all("n_not_finite", "no number is NaN or infinite"),
        _all("n_empty", "no column of texts is blank from its first row to its last"),
    ]

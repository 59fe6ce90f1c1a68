"""Principle usage: whether principles are drawn as evenly as a fair draw would."""

from __future__ import annotations

import polars as pl

from cai.quality.checking.bounds import Facts, wilson
from cai.quality.checking.checks import Check, fact_within


def principle_facts(principles: pl.Series, facts: Facts) -> None:
    """Add how many principles were used, and how much oftener than its even share the commonest was, at least."""
    counts = principles.drop_nulls().value_counts(sort=True).get_column("count")
    kinds, n, top = counts.len(), int(counts.sum()), int(counts[0]) if counts.len() else 0
    facts["n_principles"] = kinds
    facts.share("top_principle", top, n)
    facts["top_principle_ratio"] = top * kinds / n if n else None
    facts.base["top_principle_ratio"] = (top, n)
    facts["top_principle_ratio_low"] = wilson(top, n)[0] * kinds


def principle_checks(least: int, most_ratio: float) -> list[Check]:
    """The checks of principle usage."""
    return [
        fact_within("n_principles", least, None, f"at least {least} principles were drawn", kind="fitness"),
        Check(
            "ExpectColumnMaxToBeBetween",
            {"column": "top_principle_ratio_low", "max_value": most_ratio},
            "fitness",
            "facts",
            "the commonest principle is not drawn much oftener than an even draw would (its share times their number)",
            share="top_principle_ratio",
            threshold=most_ratio,
        ),
    ]

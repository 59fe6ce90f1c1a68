"""The flaws of raw texts: on record, bounded only against nonsense, because cleaning comes next."""

from __future__ import annotations

import polars as pl

from cai.params import Section, Share
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, share_at_least, share_at_most
from cai.quality.checking.texts import STOPS, final_sentence, near_repeated, repeats


class Flawed(Section):
    """Thresholds for flaws that are expected."""

    max_repeated_share: float = Share
    max_near_repeat_share: float = Share
    max_meta_talk_share: float = Share
    max_shared_closing_share: float = Share
    min_distinct_closings_share: float = Share


def flaws(frame: pl.DataFrame, column: str, n_total: int) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Flags ``repeated``: a sentence said three times; ``near_repeat``: ten words in a row, null outside the sample;
    and the hash of the ``final_sentence``."""
    return (
        repeats(frame.get_column(column), cut=STOPS, times=3, least_chars=12).alias("repeated"),
        near_repeated(frame, column, n_total),
        frame.select(final_sentence(column)).to_series(),
    )


def flaw_facts(rows: pl.DataFrame, facts: Facts) -> None:
    """Add the shares of the flaws among rows with text."""
    texts = rows.filter(~pl.col("failed"))
    for name in ("repeated", "near_repeat", "meta_talk"):
        asked = texts.get_column(name).drop_nulls()
        facts.share(name, int(asked.sum()), asked.len())
    closing_facts(texts.get_column("final_sentence"), facts)


def closing_facts(closings: pl.Series, facts: Facts) -> None:
    """Add how many rows share the commonest final sentence, and how many different ones there are."""
    counts = closings.drop_nulls().value_counts(sort=True).get_column("count")
    n = int(counts.sum())
    facts.share("shared_closing", int(counts[0]) if n else 0, n)
    facts.share("distinct_closings", counts.len(), n)


def flaw_checks(thresholds: Flawed, what: str) -> list[Check]:
    """The checks of the flaws; ``what`` is the text's name in words."""
    return [
        share_at_most(
            "repeated", thresholds.max_repeated_share, f"not every {what} says a sentence three times", kind="record"
        ),
        share_at_most(
            "near_repeat",
            thresholds.max_near_repeat_share,
            f"not every {what} says ten words in a row three times",
            kind="record",
        ),
        share_at_most(
            "meta_talk",
            thresholds.max_meta_talk_share,
            f"not every {what} talks about an answer instead of giving one",
            kind="record",
        ),
        share_at_most(
            "shared_closing",
            thresholds.max_shared_closing_share,
            f"not every {what} ends in one and the same sentence",
            kind="record",
        ),
        share_at_least(
            "distinct_closings",
            thresholds.min_distinct_closings_share,
            f"the closing sentences of the {what}s are not all a few",
            kind="record",
        ),
    ]

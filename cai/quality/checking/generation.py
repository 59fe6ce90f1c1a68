"""What every generated table is asked: a reason where there is no text, one model, sane lengths, and how texts end."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from cai.params import Section, Share
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Kind, fact_within, never, share_at_most, within
from cai.quality.checking.texts import blank, hashed, n_chars


class Generated(Section):
    """Thresholds that all generated tables share."""

    min_rows: int = Field(ge=1)
    max_chars: int = Field(ge=1)
    max_failed_share: float = Share
    max_blank_share: float = Share
    max_truncated_share: float = Share
    max_same_text_share: float = Share


def generated(text: str) -> list[pl.Expr]:
    """The slim columns of a generated table."""
    missing = pl.col(text).is_null()
    return [
        ((missing != (pl.col("finish_reason") == "error")) | (missing != pl.col("error").is_not_null()))
        .fill_null(True)
        .alias("unexplained"),
        (pl.col("error").is_not_null() & (pl.col("error").str.strip_chars() == ""))
        .fill_null(False)
        .alias("empty_reason"),
        missing.alias("failed"),
        (pl.col("error") == "disabled").fill_null(False).alias("disabled"),
        blank(text).alias("blank"),
        (pl.col("finish_reason") == "length").fill_null(False).alias("truncated"),
        n_chars(text).alias("n_chars"),
        (
            (pl.col("completion_tokens") < 0).fill_null(False)
            | (pl.col("prompt_tokens") < 1).fill_null(False)
            | ((pl.col("completion_tokens") == 0) & (n_chars(text) > 0)).fill_null(False)
        ).alias("strange_tokens"),
        pl.when(missing | (pl.col(text).str.strip_chars() == "")).then(None).otherwise(hashed(text)).alias("text_hash"),
        pl.when(missing).then(None).otherwise(pl.col("model").hash()).alias("model_hash"),
    ]


def generated_facts(rows: pl.DataFrame, facts: Facts) -> None:
    """Add the facts of a generated table."""
    asked = rows.filter(~pl.col("disabled"))
    texts = asked.filter(~pl.col("failed"))
    facts.share("failed", asked.height - texts.height, asked.height)
    facts.share("blank", int(texts["blank"].sum()), texts.height)
    facts.share("truncated", int(texts["truncated"].sum()), texts.height)
    common = texts.get_column("text_hash").drop_nulls()
    counts = common.value_counts(sort=True)
    facts.share("same_text", int(counts["count"][0]) if counts.height else 0, common.len())
    facts["n_models"] = rows.get_column("model_hash").drop_nulls().n_unique()


def generated_checks(thresholds: Generated, what: str, kind: Kind = "fitness") -> list[Check]:
    """The checks of a generated table; ``what`` is the text's name in words."""
    return [
        never("unexplained", f"a row lacks its {what} exactly when finish_reason is error and error says why"),
        never("empty_reason", "a reason is never blank"),
        never("strange_tokens", "token counts are positive where there is text"),
        within("n_chars", 0, thresholds.max_chars, f"no {what} is longer than {thresholds.max_chars} characters"),
        fact_within("n_models", 0, 1, f"one model wrote every {what}"),
        share_at_most("failed", thresholds.max_failed_share, f"few rows lack their {what}"),
        share_at_most("blank", thresholds.max_blank_share, f"few of the {what}s are blank"),
        share_at_most(
            "truncated",
            thresholds.max_truncated_share,
            f"not too many {what}s were ended by the token budget",
            kind=kind,
        ),
        share_at_most(
            "same_text", thresholds.max_same_text_share, f"no single {what} is given again and again", kind=kind
        ),
    ]

"""Leaks from the evaluation into what is trained on."""

from __future__ import annotations

import polars as pl

from cai.text.duplicates import matched, similarity


def evaluation_similarity(texts: pl.Series, asked: pl.Series) -> pl.Series:
    """For every text its greatest similarity to an evaluation prompt; 0 below a half."""
    given, against = texts.fill_null("").to_list(), asked.drop_nulls().to_list()
    found = [
        0.0 if hit is None else max(similarity(text, other) for other in against)
        for text, hit in zip(given, matched(given, against, 0.5), strict=True)
    ]
    return pl.Series("evaluation_similarity", found, dtype=pl.Float64)

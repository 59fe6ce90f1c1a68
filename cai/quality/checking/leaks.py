"""Leaks into what is trained on, from the evaluation prompts and from those held out."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Literal

import polars as pl

from cai.quality.checking.texts import normalised
from cai.text.duplicates import Grams, grams

LEAST = 0.5
"""Similarities below are told as 0: they are chance, and only what may reach this is read gram by gram."""
FEW_GRAMS = 4
"""Of an evaluation turn with fewer grams ("tell me more about it") a text may hold all by chance."""


HELD_OUT = pl.col("turns").filter(pl.col("split") == "heldout")
"""Of the prompts the dialogues that are held out: `answer` asks them beside the evaluation prompts."""


def human_turns(frame: pl.DataFrame) -> pl.DataFrame:
    """The human turns of all rows: ``row`` (place in the frame), ``words`` (folded), in the order of the dialogue."""
    turns = frame.select("turns").with_row_index("row").explode("turns", empty_as_null=False).unnest("turns")
    said = turns.filter((pl.col("role") == "user") & pl.col("text").is_not_null())
    return said.select("row", normalised(said.get_column("text")).alias("words"))


def turn_hash(n: int, turns: pl.DataFrame, which: Literal["first", "last"]) -> pl.Series:
    """For every one of n rows the hash of its first or last human turn, folded; null where it has none."""
    found = turns.unique(subset="row", keep=which, maintain_order=True).select("row", pl.col("words").hash())
    rows = pl.DataFrame({"row": pl.Series(range(n), dtype=found.schema["row"])})
    return rows.join(found, on="row", how="left", maintain_order="left").get_column("words")


def said_in(frame: pl.DataFrame) -> pl.Series:
    """Every human turn of the dialogues in ``turns``, as it was written."""
    turns = frame.select(pl.col("turns").explode(empty_as_null=False)).unnest("turns")
    return turns.filter(pl.col("role") == "user").get_column("text")


def evaluation_similarity(n: int, turns: pl.DataFrame, asked: pl.Series) -> pl.Series:
    """For every row the greatest similarity of one of its human turns to any evaluation turn; 0 below `LEAST`.

    A turn is as similar to an evaluation turn as it holds of its word 3-grams: a benchmark question inside a longer
    message is still that question. Where that one has fewer than `FEW_GRAMS`, both together count (Jaccard).

    Args:
        n: number of rows.
        turns: what `human_turns` gives.
        asked: every turn of every evaluation prompt.
    """
    theirs = [grams(text) for text in asked.drop_nulls().unique(maintain_order=True)]
    maybe = turns.filter(_maybe(turns.get_column("words"), theirs))
    index: dict[str, list[int]] = defaultdict(list)
    for place, set_ in enumerate(theirs):
        for gram in set_:
            index[gram].append(place)
    found = [0.0] * n
    for row, words in maybe.rows():
        mine = grams(words)
        shared = Counter(place for gram in mine for place in index.get(gram, ()))
        for place, common in shared.items():
            other = theirs[place]
            likeness = common / (len(other) if len(other) >= FEW_GRAMS else len(other | mine))
            if likeness >= LEAST:
                found[row] = max(found[row], likeness)
    return pl.Series("evaluation_similarity", found, dtype=pl.Float64)


def _maybe(words: pl.Series, theirs: list[Grams]) -> pl.Series:
    """Whether a turn could reach `LEAST`; false only where it surely does not.

    Who holds half of a set holds one of any half of it and one more, so the half with the rarest grams is looked for.
    """
    often = Counter(gram for set_ in theirs for gram in set_)
    rare: set[str] = set()
    whole: list[str] = []
    for set_ in theirs:
        if len(set_) == 1 and len(next(iter(set_)).split(" ")) < 3:
            whole.extend(set_)  # one or two words are only found as the whole of a turn
            continue
        # A long gram is a rare one.
        ordered = sorted(set_, key=lambda gram: (often[gram], -len(gram), gram))
        rare.update(f" {gram} " for gram in ordered[: len(set_) - math.ceil(LEAST * len(set_)) + 1])
    if not rare and not whole:
        return pl.repeat(False, words.len(), dtype=pl.Boolean, eager=True)
    padded = (" " + words + " ").str
    return padded.contains_any(sorted(rare)) | words.is_in(whole)

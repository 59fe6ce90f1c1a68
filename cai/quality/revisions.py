"""The gate of data/supervised/revisions.parquet: the chain of rounds hangs together; its flaws are on record.

Raw revisions are expected to be flawed: cleaning comes next. Their flaws are bounded only against nonsense.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.supervised import CRITIQUES, RESPONSES
from cai.artifacts.supervised import REVISIONS as TABLE
from cai.params import Share
from cai.quality.checking.accounting import beside, ids, missing, unlike, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, n_rows, never, share_at_most, unique, within, zero
from cai.quality.checking.flaws import Flawed, flaw_checks, flaw_facts, flaws
from cai.quality.checking.generation import Generated, generated, generated_checks, generated_facts
from cai.quality.checking.principles import principle_checks, principle_facts
from cai.quality.checking.texts import has_emoji, hashed, hashed_turns, meta_talk

PARENTS = (
    Parent(
        RESPONSES,
        (
            "prompt_id",
            "split",
            hashed("prompt").alias("prompt"),
            hashed_turns().alias("turns"),
            hashed("response").alias("response"),
        ),
    ),
    Parent(CRITIQUES, ("prompt_id", "round", hashed("critique").alias("critique"))),
)


class Thresholds(Generated, Flawed):
    """gates.revisions"""

    max_rounds: int = Field(ge=1)
    max_emoji_share: float = Share
    max_copied_share: float = Share
    min_principles: int = Field(ge=1)
    max_principle_ratio: float = Field(ge=1.0)


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the revisions."""
    critiques = parents["critiques"].rename({"critique": "critique_hash"})
    joined = beside(frame, parents["responses"], ("prompt_id",)).join(
        critiques, on=["prompt_id", "round"], how="left", maintain_order="left"
    )
    pairs = ((pl.col("split"), "split_parent"), (hashed("prompt"), "prompt_parent"), (hashed_turns(), "turns_parent"))
    text = pl.col("revision").str.strip_chars()
    return joined.select(
        "prompt_id",
        "round",
        "unknown",
        pl.col("principle_id").hash().alias("principle"),
        (pl.col("principle_id").str.strip_chars() == "").fill_null(False).alias("no_principle"),
        unlike(pairs).alias("unlike_prompt"),
        hashed("critique").ne_missing(pl.col("critique_hash")).alias("other_critique"),
        ((pl.col("round") == 1) & hashed("response").ne_missing(pl.col("response_parent")) & ~pl.col("unknown"))
        .fill_null(False)
        .alias("other_response"),
        hashed("response").alias("response_hash"),
        hashed("revision").alias("revision_hash"),
        ((text == pl.col("response").str.strip_chars()) | (text == pl.col("critique").str.strip_chars()))
        .fill_null(False)
        .alias("copied"),
        *generated("revision"),
        *flaws(frame, "revision", parents["responses"].height),
        meta_talk("revision").alias("meta_talk"),
        has_emoji("revision").alias("emoji"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with responses and critiques, the chain between rounds, and the flaws on record."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    missing(found, "n_responses_without_revision", parents["responses"], rows, ("prompt_id",))
    missing(found, "n_critiques_without_revision", parents["critiques"], rows, TABLE.key)
    before = rows.select("prompt_id", pl.col("round") + 1, pl.col("revision_hash").alias("before"))
    chain = rows.filter(pl.col("round") > 1).join(before, on=["prompt_id", "round"], how="left", maintain_order="left")
    broken = chain.filter(pl.col("before").ne_missing(pl.col("response_hash")))
    found.count("n_broken_chains", ids(broken, TABLE.key))
    generated_facts(rows, found)
    flaw_facts(rows, found)
    texts = rows.filter(~pl.col("failed"))
    found.share("emoji", int(texts["emoji"].sum()), texts.height)
    found.share("copied", int(texts["copied"].sum()), texts.height)
    principle_facts(rows.get_column("principle"), found)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the revisions."""
    most = sizes["responses"] * thresholds.max_rounds if "responses" in sizes else None
    return [
        n_rows(thresholds.min_rows, most, "there are rows, and no more than responses times rounds"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        within("round", 1, thresholds.max_rounds, f"rounds run from 1 to {thresholds.max_rounds}"),
        never("unknown", "every row belongs to a response"),
        never("unlike_prompt", "split, prompt and turns are the response's own"),
        never("no_principle", "every row names its principle"),
        never("other_critique", "the critique is that of the same prompt and round"),
        never("other_response", "round 1 revises the response"),
        zero("n_broken_chains", "round k revises what round k - 1 left"),
        zero("n_responses_without_revision", "every response has a row"),
        zero("n_critiques_without_revision", "every critique has a row"),
        *generated_checks(thresholds, "revision", kind="record"),
        *flaw_checks(thresholds, "revision"),
        share_at_most("emoji", thresholds.max_emoji_share, "not every revision holds emoji", kind="record"),
        share_at_most(
            "copied", thresholds.max_copied_share, "not every revision copies response or critique", kind="record"
        ),
        *principle_checks(thresholds.min_principles, thresholds.max_principle_ratio),
    ]

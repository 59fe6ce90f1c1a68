"""The gate of data/preference/preferences.parquet: what dpo trains on."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import Field

from cai.artifacts.preference import EXCLUDED, VERDICTS
from cai.artifacts.preference import PREFERENCES as TABLE
from cai.artifacts.prompts import PROMPTS
from cai.params import Section, Share
from cai.quality.checking.accounting import beside, ids, unlike, unsorted
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Parent, fact_within, n_rows, never, share_at_most, unique, within, zero
from cai.quality.checking.judged import CARD as CARD
from cai.quality.checking.judged import two_sided_checks, two_sided_facts
from cai.quality.checking.texts import blank, hashed, hashed_turns, n_chars

PARENTS = (
    Parent(
        PROMPTS, ("prompt_id", "split", "cluster_id", hashed("prompt").alias("prompt"), hashed_turns().alias("turns"))
    ),
    Parent(
        VERDICTS,
        (
            "prompt_id",
            "status",
            "p",
            hashed("response_a").alias("response_a"),
            hashed("response_b").alias("response_b"),
        ),
    ),
    Parent(EXCLUDED, ("prompt_id",)),
)


class Thresholds(Section):
    """gates.preferences"""

    min_train_rows: int = Field(ge=1)
    min_test_rows: int = Field(ge=0)
    max_chars: int = Field(ge=1)
    max_draw_imbalance: float = Share
    max_length_only_accuracy: float = Field(ge=0.5, le=1.0)
    max_same_chosen_share: float = Share


def _splits(found: pl.Series) -> list[str]:
    """The two splits that pairs may come from: the preference phase's, or the supervised one's (sample.prompts)."""
    shared = ["sft_train", "sft_test"]
    return shared if found.len() and found.is_in(shared).fill_null(False).all() else ["pref_train", "pref_test"]


def slim(frame: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Keys, references and flags of the preferences."""
    verdicts = parents["verdicts"].rename({name: f"{name}_verdict" for name in ("p", "response_a", "response_b")})
    joined = beside(frame, parents["prompts"], ("prompt_id",)).join(
        verdicts, on="prompt_id", how="left", maintain_order="left"
    )
    own = ((hashed("prompt"), "prompt_parent"), (hashed_turns(), "turns_parent"))
    first = pl.col("chosen_draw") == 0
    a, b = pl.col("response_a_verdict"), pl.col("response_b_verdict")
    p = pl.col("p_verdict")
    better = pl.when(first).then(p).otherwise(1.0 - p)
    return joined.select(
        "prompt_id",
        "split",
        pl.col("cluster_id_parent").alias("cluster_id"),
        pl.col("split_parent"),
        (pl.col("unknown") | ~pl.col("split_parent").is_in(_splits(joined["split_parent"])))
        .fill_null(True)
        .alias("unknown"),
        unlike(own).alias("unlike_prompt"),
        (pl.col("split_parent").str.extract("_(train|test)$") != pl.col("split")).fill_null(False).alias("other_split"),
        (pl.col("status") != "ok").fill_null(True).alias("not_judged"),
        (
            hashed("chosen").ne_missing(pl.when(first).then(a).otherwise(b))
            | hashed("rejected").ne_missing(pl.when(first).then(b).otherwise(a))
        ).alias("other_texts"),
        (
            pl.col("p_chosen").is_between(0.5, 1.0, closed="right")
            & ~((pl.col("p_chosen") == 1.0) | ((pl.col("p_chosen") - better).abs() < 1e-9) & (better > 0.5))
        )
        .fill_null(False)
        .alias("other_p"),
        blank("chosen").alias("chosen_blank"),
        blank("rejected").alias("rejected_blank"),
        pl.max_horizontal(n_chars("chosen"), n_chars("rejected")).alias("n_chars"),
        (pl.col("chosen").str.strip_chars() == pl.col("rejected").str.strip_chars())
        .fill_null(False)
        .alias("same_text"),
        ~((pl.col("p_chosen") > 0.5) & (pl.col("p_chosen") <= 1.0)).fill_null(False).alias("p_out_of_range"),
        (~pl.col("chosen_draw").is_in([0, 1])).fill_null(True).alias("strange_draw"),
        (pl.col("chosen_draw") == 0).fill_null(False).alias("first_draw"),
        (n_chars("chosen") - n_chars("rejected")).alias("longer_by"),
        hashed("chosen").alias("chosen_hash"),
    )


def facts(rows: pl.DataFrame, parents: Mapping[str, pl.DataFrame]) -> Facts:
    """Accounting with verdicts and excluded pairs, clusters across splits, and what the labels could be read from."""
    found = Facts()
    unsorted(found, rows, TABLE.key)
    prompts, excluded = parents["prompts"], parents["excluded"]
    for split in ("train", "test"):
        found[f"n_{split}"] = int((rows["split"] == split).sum())
    found.count("n_also_excluded", ids(rows.join(excluded, on="prompt_id", how="semi")))
    settled = pl.concat([rows.select("prompt_id"), excluded.select("prompt_id")])
    found.count("n_verdicts_lost", ids(parents["verdicts"].join(settled, on="prompt_id", how="anti")))
    # Looked up in the prompts, not in this table's own split column, which is checked on its own.
    own = _splits(rows["split_parent"])
    others = prompts.filter(~pl.col("split").is_in(own)).get_column("cluster_id").unique()
    found.count("n_in_other_clusters", ids(rows.filter(pl.col("cluster_id").is_in(others.implode()))))
    both = pl.col("split").n_unique().over("cluster_id") > 1
    found.count("n_in_train_and_test", ids(rows.filter(pl.col("cluster_id").is_not_null() & both)))
    two_sided_facts(found, "first_draw_chosen", int(rows["first_draw"].sum()), rows.height)
    unequal = rows.filter(pl.col("longer_by") != 0)
    longer = int((unequal["longer_by"] > 0).sum())
    # A classifier that knows the lengths alone says "the longer one", or always "the shorter one", whichever is better.
    found.share("length_only", max(longer, unequal.height - longer), unequal.height)
    found["longer_chosen_share"] = longer / unequal.height if unequal.height else None
    counts = rows.get_column("chosen_hash").value_counts(sort=True).get_column("count")
    found.share("same_chosen", int(counts[0]) if counts.len() else 0, rows.height)
    return found


def expectations(thresholds: Thresholds, sizes: Mapping[str, int]) -> list[Check]:
    """The checks of the preferences."""
    least = thresholds.min_train_rows + thresholds.min_test_rows
    return [
        n_rows(least, sizes.get("verdicts"), "there are rows, and no more than verdicts"),
        fact_within("n_train", thresholds.min_train_rows, None, "there are pairs to train on"),
        fact_within("n_test", thresholds.min_test_rows, None, "there are pairs to test on"),
        unique(TABLE.key),
        zero("n_unsorted", "rows are sorted by their key"),
        never("unknown", "every row belongs to a prompt of a preference split"),
        never("unlike_prompt", "prompt and turns are the prompt's own"),
        never("other_split", "train and test are the prompt's own split"),
        never("not_judged", "every row has a verdict whose status is ok"),
        never("other_texts", "chosen and rejected are the responses that were judged, the right way round"),
        never("other_p", "p_chosen is the verdict's p of the chosen response, or 1 for hard labels"),
        zero("n_also_excluded", "no pair is both trained on and excluded"),
        zero("n_verdicts_lost", "every verdict is trained on or excluded"),
        zero("n_in_other_clusters", "no cluster is shared with the supervised or held-out prompts"),
        zero("n_in_train_and_test", "no cluster stands in train and test"),
        never("chosen_blank", "no chosen response is blank"),
        never("rejected_blank", "no rejected response is blank"),
        within("n_chars", 1, thresholds.max_chars, f"no response is longer than {thresholds.max_chars} characters"),
        never("same_text", "chosen differs from rejected"),
        never("p_out_of_range", "p_chosen lies above 0.5 and not above 1"),
        never("strange_draw", "chosen_draw is 0 or 1"),
        *two_sided_checks(
            "first_draw_chosen",
            thresholds.max_draw_imbalance,
            "neither draw is chosen more often: they are exchangeable",
        ),
        share_at_most(
            "length_only",
            thresholds.max_length_only_accuracy,
            "length alone does not tell which response was chosen",
            severity="judge",
        ),
        share_at_most("same_chosen", thresholds.max_same_chosen_share, "no single response is chosen again and again"),
    ]

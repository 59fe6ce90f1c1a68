"""Pairs that people chose, to stand beside those that the judge chose: HH-RLHF's helpful-base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from cai.artifacts.preference import HUMAN_PAIRS
from cai.dialogue import Turn, prompt_id
from cai.text import duplicates
from cai.text.transcripts import parse, row_contexts

SIMILARITY = 0.7
"""As prompts.near_duplicates: from here on a turn counts as an evaluation prompt."""


def human_pairs(
    rows: Iterable[Mapping[str, Any]], evaluation: Sequence[str], held_out: Sequence[str], limit: int | None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """HUMAN_PAIRS, and how many rows were left out for which reason.

    Both answers of a row must follow the same context and be the last turn of a transcript without flaws; a row that
    holds an evaluation prompt or a held-out one is left out. Taken in the order of ids, which are hashes: a limited
    set is an unbiased sample, and a larger limit keeps what a smaller one had.

    Args:
        rows: {chosen, rejected}, transcripts of HH-RLHF; null where a row compares nothing.
        evaluation: the user turns of all evaluation prompts.
        held_out: the user turns of the held-out prompts, which `answer` asks beside them.
        limit: the most pairs kept; None: all.
    """
    dropped: Counter[str] = Counter()
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["chosen"] is None:
            dropped["no_comparison"] += 1
            continue
        ((context, reason),), later = row_contexts(row["chosen"], row["rejected"], None, "last")
        if context is None or later:
            dropped[reason or later[0]] += 1
            continue
        chosen, rejected = (parse(row[side]).turns[-1][1] for side in ("chosen", "rejected"))
        if chosen == rejected:
            dropped["same_text"] += 1
            continue
        pair_id = f"human/{prompt_id(tuple(Turn(role, text) for role, text in context))}"
        if pair_id in found:
            dropped["duplicate"] += 1
            continue
        turns = [{"role": role, "text": text} for role, text in context]
        found[pair_id] = {
            "pair_id": pair_id,
            "prompt": context[-1][1],
            "turns": turns,
            "chosen": chosen,
            "rejected": rejected,
        }
    asked = {turn["text"] for row in found.values() for turn in row["turns"] if turn["role"] == "user"}
    said = sorted(asked)
    kept = [row for _, row in sorted(found.items())]
    for reason, theirs in (("evaluation_prompt", evaluation), ("heldout_prompt", held_out)):
        hits = duplicates.matched(said, theirs, SIMILARITY)
        matching = {text for text, hit in zip(said, hits, strict=True) if hit is not None}
        apart = [row for row in kept if not any(turn["text"] in matching for turn in row["turns"])]
        dropped[reason] += len(kept) - len(apart)
        kept = apart
    if limit is not None and len(kept) > limit:
        dropped["over_limit"] += len(kept) - limit
        kept = kept[:limit]
    return HUMAN_PAIRS.frame(kept), {reason: n for reason, n in sorted(dropped.items()) if n}

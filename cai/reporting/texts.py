"""Degeneration of the training texts, and degenerate examples: what a model was taught beside what it then says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cai.artifacts.cleaned import CLEANED
from cai.artifacts.evaluation import ANSWERS
from cai.artifacts.supervised import RESPONSES, REVISIONS
from cai.reporting.edits import CAP_TEXT
from cai.reporting.inputs import MODELS, Inputs

CAP_ROWS = 5_000
"""Rows measured a kind of text: ids are hashes, so the smallest ones are a random sample that stays the same."""
EXAMPLES = 4
KINDS = (
    ("first answers", RESPONSES, "response"),
    ("raw revisions", REVISIONS, "revision"),
    ("cleaned revisions", CLEANED, "revision"),
)


@dataclass(frozen=True)
class TextKind:
    """The measures of one kind of text; ``subset`` names the rows behind them."""

    name: str
    subset: str
    measures: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Example:
    """One degenerate answer: ids and flags may be read by anyone, the text stays behind a click."""

    model: str
    prompt_id: str
    turn: int
    set: str
    flags: tuple[str, ...]
    prompt: str
    response: str


def text_kinds(inputs: Inputs) -> list[TextKind]:
    """Measures of first answers, raw revisions and cleaned revisions, as far as these artifacts are there.

    Compression and shared 5-grams depend on how many texts there are, so all kinds take them over the same rows: those
    that cleaning kept.
    """
    from cai.scoring.degeneration import compression_ratio, flags, measures, shared_ngram_share
    from cai.scoring.statistics import Measure

    frames = {name: inputs.table(table) for name, table, _ in KINDS}
    kept = frames["cleaned revisions"]
    shared = None if kept is None else kept.select("prompt_id", "round").unique()
    found = []
    for name, _, column in KINDS:
        frame = frames[name]
        if frame is None:
            continue
        ids = frame["prompt_id"].unique().sort()
        taken = frame.filter(pl.col("prompt_id").is_in(ids.head(CAP_ROWS).implode()))
        is_cleaned = name == "cleaned revisions"
        rows = [
            None if text is None else flags(text, None if is_cleaned else reason)
            for text, reason in taken.select(column, "finish_reason").iter_rows()
        ]
        whole = measures(rows, clusters_of=taken["prompt_id"].to_list(), horizon="whole text")
        if is_cleaned:
            # A cleaned text ends where a rule lets it end, which is not how its generation ended.
            whole["eos_fail_share"] = Measure.missing("cleaning decides where these texts end", n_missing=len(rows))
        same = taken if shared is None else _same_rows(taken, shared)
        said = [(text, key) for text, key in same.select(column, "prompt_id").iter_rows() if text is not None]
        whole["compression_ratio"] = compression_ratio(text for text, _ in said)
        whole["shared_5gram_share"] = shared_ngram_share([text for text, _ in said], [key for _, key in said])
        subset = f"{len(ids):,} prompts" if len(ids) <= CAP_ROWS else f"[{CAP_ROWS:,}/{len(ids):,}] prompts"
        found.append(TextKind(name, subset, {key: measure.as_dict() for key, measure in whole.items()}))
    return found


def examples(inputs: Inputs, *, limit: int = EXAMPLES) -> tuple[list[Example], dict[str, tuple[int, int]]]:
    """Up to ``limit`` degenerate answers a model, by id, and {model: (degenerate, all)} answers."""
    from cai.scoring.degeneration import FLAG_MEASURES, flags

    shown: list[Example] = []
    counts: dict[str, tuple[int, int]] = {}
    for model in MODELS:
        frame = inputs.table(ANSWERS.of(model))
        if frame is None:
            continue
        bad = []
        n = 0
        for row in frame.sort("prompt_id", "turn").iter_rows(named=True):
            if row["response"] is None:
                continue
            n += 1
            seen = flags(row["response"], row["finish_reason"])
            if seen.degenerate:
                names = tuple(name for name in FLAG_MEASURES if name != "degenerate" and getattr(seen, name))
                bad.append((names, row))
        counts[model] = (len(bad), n)
        shown += [
            Example(
                model,
                row["prompt_id"],
                row["turn"],
                row["set"],
                names,
                _short(row["prompt"]),
                _short(row["response"]),
            )
            for names, row in bad[:limit]
        ]
    return shown, counts


def generation_manifest(inputs: Inputs, tables: Sequence[Any]) -> list[dict[str, Any]]:
    """Who wrote each artifact, under which sampling digest, and how its texts ended."""
    found = []
    for table in tables:
        frame = inputs.table(table)
        if frame is None or not frame.height:
            continue
        for (model, sampling), part in frame.group_by("model", "sampling", maintain_order=True):
            ended = part["finish_reason"].value_counts().sort("finish_reason")
            found.append(
                {
                    "path": table.path,
                    "model": model,
                    "sampling": sampling,
                    "n": part.height,
                    "ended": ", ".join(f"{reason} {n:,}" for reason, n in ended.iter_rows()),
                    "most": part["completion_tokens"].max(),
                }
            )
    return sorted(found, key=lambda row: [table.path for table in tables].index(row["path"]))


def _same_rows(frame: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    on = [name for name in ("prompt_id", "round") if name in frame.columns]
    return frame.join(keys.select(on).unique(), on=on, how="semi", maintain_order="left")


def _short(text: str) -> str:
    return text if len(text) <= CAP_TEXT else f"{text[:CAP_TEXT]} … {len(text) - CAP_TEXT:,} more characters"

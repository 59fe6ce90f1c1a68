"""Every row from the source to training, and every row that was left behind, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from cai.artifacts.cleaned import CLEANED, DROPPED, EDITS
from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.preference import EXCLUDED, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.artifacts.table import Table
from cai.reporting.inputs import HELDOUT, MODELS, Inputs, laid_open


@dataclass(frozen=True)
class Step:
    """One stage: n_in = n_out + the sum of ``dropped``; ``notes`` say what the rows are like."""

    stage: str
    unit: str
    n_in: int
    n_out: int
    dropped: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    missing: str | None = None

    @property
    def adds_up(self) -> bool:
        """Whether every row is accounted for."""
        return self.n_in == self.n_out + sum(n for _, n in self.dropped)


@dataclass
class Flow:
    """The steps in order, and what could not be counted."""

    steps: list[Step] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def flow(inputs: Inputs) -> Flow:
    """The row counts of every stage whose artifacts are there."""
    found = Flow()
    _prompts(inputs, found)
    for table, unit in ((RESPONSES, "answers"), (CRITIQUES, "critiques"), (REVISIONS, "revisions")):
        _generated(inputs, found, table, unit)
    _clean(inputs, found)
    _generated(inputs, found, SAMPLES, "answers, two a prompt")
    _judge(inputs, found)
    _pair(inputs, found)
    for model in MODELS:
        _generated(inputs, found, ANSWERS.of(model), "answers")
    return found


def evaluation_sets(inputs: Inputs) -> dict[str, int]:
    """{set: number of evaluation prompts}, empty where the artifact is not there."""
    frame = inputs.table(EVALUATION_PROMPTS)
    return {} if frame is None else _counts(frame, "set")


def subsets(inputs: Inputs) -> list[tuple[str, int, str]]:
    """(set, n, its name with n of how many) of every evaluation set, and of the held-out prompts that were answered."""
    said = laid_open(inputs.json("metrics/benchmarks.json", "benchmarks") or {})
    found = [(name, n, str((said.get(name) or {}).get("subset", name))) for name, n in evaluation_sets(inputs).items()]
    answers, prompts = inputs.table(ANSWERS.of(MODELS[0])), inputs.table(PROMPTS)
    if answers is not None and prompts is not None:
        n = answers.filter(pl.col("set") == HELDOUT)["prompt_id"].n_unique()
        n_all = prompts.filter(pl.col("split") == HELDOUT).height
        if n:
            found.append((HELDOUT, n, HELDOUT if n == n_all else f"{HELDOUT}[{n}/{n_all}]"))
    return sorted(found)


def subset_names(inputs: Inputs) -> dict[str, str]:
    """{set: the name that stands wherever one of its numbers does}, as "harmbench[32/200]"."""
    return {name: words for name, _, words in subsets(inputs)}


def _prompts(inputs: Inputs, found: Flow) -> None:
    counts = inputs.json("metrics/prompts.json", "prompts")
    if counts is None:
        found.unread.append(inputs.why("metrics/prompts.json", "prompts"))
        return
    used, all_ = counts.get("n_transcripts_used"), counts.get("n_transcripts_in")
    notes = [_splits(counts)]
    if used is not None and all_ is not None:
        notes.insert(0, f"{used:,} of {all_:,} transcripts used")
    found.steps.append(
        Step("prompts", "contexts", counts["n_in"], counts["n_kept"], _ordered(counts["dropped"]), tuple(notes))
    )
    helpful = counts.get("instructions")
    if isinstance(helpful, Mapping):
        found.steps.append(
            Step(
                "prompts",
                "instruction rows",
                helpful["n_in"],
                helpful["n_kept"],
                _ordered(helpful["dropped"]),
                (_splits(helpful),),
            )
        )


def _generated(inputs: Inputs, found: Flow, table: Table, unit: str) -> None:
    frame = inputs.table(table)
    if frame is None:
        found.unread.append(inputs.why(table.path, table.stage))
        return
    # A disabled critique is no failure: nobody asked for it.
    asked = frame.filter(pl.col("error").fill_null("") != "disabled")
    failed = asked.filter(pl.col("finish_reason") == "error")
    cut = asked.filter(pl.col("finish_reason") == "length").height
    good = asked.height - failed.height
    notes = [f"{cut:,} of {good:,} cut at the token budget"] if good else []
    if asked.height < frame.height:
        notes.append(f"{frame.height - asked.height:,} not asked for: disabled")
    if "round" in frame.columns and frame.height:
        rounds = frame["round"].n_unique()
        notes.append(f"{rounds} round{'s' if rounds != 1 else ''}")
    reasons = failed.with_columns(pl.col("error").fill_null("error").str.slice(0, 60))
    found.steps.append(Step(table.stage, unit, asked.height, good, _ordered(_counts(reasons, "error")), tuple(notes)))


def _clean(inputs: Inputs, found: Flow) -> None:
    revisions, kept, dropped = inputs.table(REVISIONS), inputs.table(CLEANED), inputs.table(DROPPED)
    if revisions is None or kept is None or dropped is None:
        found.unread.append("what clean kept cannot be counted: " + inputs.why(CLEANED.path, "clean"))
        return
    edits = inputs.table(EDITS)
    notes = []
    if edits is not None:
        touched = edits.select("prompt_id", "round").unique().height
        notes.append(f"{edits.height:,} edits in {touched:,} rows")
    found.steps.append(
        Step("clean", "revisions", revisions.height, kept.height, _ordered(_counts(dropped, "reason")), tuple(notes))
    )


def _judge(inputs: Inputs, found: Flow) -> None:
    verdicts = inputs.table(VERDICTS)
    if verdicts is None:
        found.unread.append(inputs.why(VERDICTS.path, "judge"))
        return
    counts = _counts(verdicts, "status")
    notes = []
    known = verdicts.drop_nulls("flip")
    if known.height:
        notes.append(f"{int(known['flip'].sum()):,} of {known.height:,} change with the order of the two answers")
    good = counts.pop("ok", 0)
    found.steps.append(Step("judge", "pairs", verdicts.height, good, _ordered(counts), tuple(notes)))


def _pair(inputs: Inputs, found: Flow) -> None:
    verdicts, kept, left = inputs.table(VERDICTS), inputs.table(PREFERENCES), inputs.table(EXCLUDED)
    if verdicts is None or kept is None or left is None:
        found.unread.append("the pairs cannot be counted: " + inputs.why(PREFERENCES.path, "pair"))
        return
    splits = ", ".join(f"{name} {n:,}" for name, n in _ordered(_counts(kept, "split")))
    notes = (splits,) if splits else ()
    found.steps.append(Step("pair", "verdicts", verdicts.height, kept.height, _ordered(_counts(left, "reason")), notes))


def _splits(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts["splits"].items())


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(column).len()
    return {str(name): int(n) for name, n in counted.iter_rows()}


def _ordered(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Largest first, then by name: the order of rows never shows."""
    return tuple(sorted(((name, n) for name, n in counts.items() if n), key=lambda pair: (-pair[1], pair[0])))

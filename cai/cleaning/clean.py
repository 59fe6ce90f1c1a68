"""Cleaning of one row, and of a stream of rows: what the stage and `cai clean` share."""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing import get_context
from typing import NamedTuple

from cai.cleaning.edits import Cut, Edit, perform
from cai.cleaning.plan import EDITOR, Plan
from cai.cleaning.rules import META, RULES
from cai.cleaning.screen import AFTER_EDIT, EVERYTHING, MARKING, NEEDS, suspicions
from cai.cleaning.view import Drop, Mark, Row, View
from cai.text.sentences import key, size

__all__ = ["Cleaned", "Edit", "Row", "clean_row", "clean_rows"]

ROUNDS = 12
"""A text that still changes after so many passes is dropped: kept texts are fixed points, so cleaning twice changes nothing."""
META_SHARE = 0.5
CHUNK = 256


class Cleaned(NamedTuple):
    """What became of a row: a kept text with its edits, or None with a reason and the rule that dropped it."""

    text: str | None
    edits: tuple[Edit, ...]
    reason: str | None = None
    rule: str | None = None
    flags: tuple[Mark, ...] = ()
    """places in the kept text that rules found doubtful and left to the editor"""


def clean_row(row: Row, plan: Plan, *, screened: bool = True) -> Cleaned:
    """The row after every rule of the plan, repeated until nothing changes. Never raises, whatever the text.

    >>> from cai.cleaning.plan import from_list
    >>> clean_row(Row("1", "Take care. Take care. Take care."), from_list("one", ["inner_repeats"])).text
    'Take care.'
    """
    text = row.text
    edits: list[Edit] = []
    lost_to_meta = 0
    marks: tuple[Mark, ...] = ()
    view = View(text)
    for _ in range(ROUNDS):
        before = text
        found_marks: list[Mark] = []
        seen = suspicions(text, row, marks=plan.editor) if screened else EVERYTHING
        for step in plan.steps:
            if NEEDS[step.rule] not in seen or (step.rule in MARKING and not plan.editor):
                continue
            cuts: list[Cut] = []
            for finding in RULES[step.rule].find(view, row):
                if isinstance(finding, Drop):
                    return Cleaned(None, tuple(edits), finding.reason, step.rule)
                if isinstance(finding, Mark):
                    found_marks.append(finding)
                else:
                    cuts.append(finding)
            if not cuts:
                continue
            changed, made = perform(cuts, text, step.rule, len(edits))
            if not made:
                continue
            if step.on_hit == "drop":
                return Cleaned(None, tuple(edits), "flagged", step.rule)
            edits.extend(made)
            if step.rule in META:
                lost_to_meta += sum(size(key(edit.removed)) for edit in made)
                if lost_to_meta > META_SHARE * max(size(key(row.text)), 1):
                    return Cleaned(None, tuple(edits), "meta_talk", step.rule)
            text = changed
            view = View(text)
            found_marks = []
            if screened:  # as for any text; but a stub is one only beside what the row was
                seen = suspicions(text, row, marks=plan.editor) | AFTER_EDIT
        if text == before:
            marks = tuple(found_marks)
            break
    else:
        return Cleaned(None, tuple(edits), "unsettled", plan.steps[-1].rule)
    return Cleaned(text, tuple(edits), flags=marks)


def clean_rows(rows: Iterable[Row], plan: Plan, workers: int = 1) -> Iterator[tuple[Row, Cleaned]]:
    """Every row with what became of it, in the order of the input; memory does not grow with the number of rows."""
    if workers <= 1:
        for row in rows:
            yield row, clean_row(row, plan)
        return
    with get_context("spawn").Pool(workers, initializer=_set_plan, initargs=(plan,)) as pool:
        waiting: list[tuple[list[Row], object]] = []
        for chunk in _chunks(rows):
            waiting.append((chunk, pool.apply_async(_clean_chunk, (chunk,))))
            if len(waiting) > 3 * workers:
                yield from _results(waiting.pop(0))
        for one in waiting:
            yield from _results(one)


def _results(one: tuple[list[Row], object]) -> Iterator[tuple[Row, Cleaned]]:
    chunk, result = one
    yield from zip(chunk, result.get(), strict=True)  # type: ignore[attr-defined]


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    stream = iter(rows)
    while chunk := list(islice(stream, CHUNK)):
        yield chunk


_PLAN: list[Plan] = []


def _set_plan(plan: Plan) -> None:
    _PLAN[:] = [plan]


def _clean_chunk(chunk: list[Row]) -> list[Cleaned]:
    return [clean_row(row, _PLAN[0]) for row in chunk]


def metrics(results: Iterable[tuple[Row, Cleaned]]) -> dict[str, object]:
    """Counts over all rows: kept share, kept characters, and per rule the rows and characters touched and the drops."""
    n_rows = n_kept = n_edited = chars_in = chars_kept = 0
    rows: Counter[str] = Counter()
    chars: Counter[str] = Counter()
    n_edits: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for row, cleaned in results:
        n_rows += 1
        chars_in += len(row.text)
        if cleaned.text is None:
            dropped[cleaned.rule or "none"] += 1
            reasons[cleaned.reason or "none"] += 1
            continue
        n_kept += 1
        chars_kept += len(cleaned.text)
        n_edited += bool(cleaned.edits)
        for rule in {edit.rule for edit in cleaned.edits}:
            rows[rule] += 1
        for edit in cleaned.edits:
            n_edits[edit.rule] += 1
            chars[edit.rule] += len(edit.removed)
    return {
        "n_rows": n_rows,
        "n_kept": n_kept,
        "n_edited": n_edited,
        "kept_share": n_kept / n_rows if n_rows else None,
        "kept_chars_share": chars_kept / chars_in if chars_in else None,
        "dropped": dict(sorted(reasons.items())),
        "rules": {
            rule: {
                "n_rows": rows[rule],
                "n_edits": n_edits[rule],
                "n_chars_removed": chars[rule],
                "n_dropped": dropped[rule],
            }
            for rule in (*RULES, EDITOR)
            if rows[rule] or dropped[rule]
        },
    }

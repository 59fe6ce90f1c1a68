"""Cleaning of one row, and of a stream of rows: what the stage and `cai clean` share."""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import NamedTuple

from cai.cleaning.edits import Cut, Edit, perform
from cai.cleaning.plan import EDITOR, Plan
from cai.cleaning.rules import LAST, META, RULES
from cai.cleaning.screen import AFTER_EDIT, EVERYTHING, MARKING, NEEDS, calls, suspicions
from cai.cleaning.view import Drop, Mark, Row, View
from cai.errors import CaiError
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
    return clean_batch([row], plan, screened=screened)[0]


def clean_batch(rows: Sequence[Row], plan: Plan, *, screened: bool = True) -> list[Cleaned]:
    """What became of each row; as `clean_row`, but many rows share one screen, which is most of what a good row costs."""
    results: list[Cleaned | None] = [None] * len(rows)
    under_way: dict[int, _Passes] = {}
    open_ = list(range(len(rows)))
    texts = [row.text for row in rows]
    for _ in range(ROUNDS):
        if not open_:
            break
        asked = [rows[place] for place in open_]
        all_seen = suspicions(texts, asked, marks=plan.editor) if screened else [EVERYTHING] * len(open_)
        changed = []
        for place, text, seen in zip(open_, texts, all_seen, strict=True):
            passes = under_way.get(place)
            if not calls(seen):
                results[place] = Cleaned(text, tuple(passes.edits) if passes else ())
                continue
            if passes is None:
                passes = under_way[place] = _Passes(rows[place], plan)
            results[place] = passes.once(seen)
            if results[place] is None:
                changed.append(place)
        open_, texts = changed, [under_way[place].text for place in changed]
    unsettled = {
        place: Cleaned(None, tuple(under_way[place].edits), "unsettled", plan.steps[-1].rule) for place in open_
    }
    return [unsettled[place] if result is None else result for place, result in enumerate(results)]


class _Passes:
    """A row on its way through the plan, pass after pass."""

    def __init__(self, row: Row, plan: Plan) -> None:
        self.row, self.plan = row, plan
        self.text = row.text
        self.view = View(row.text)
        self.edits: list[Edit] = []
        self.idle: dict[str, list[Mark]] = {}
        """the marks of each rule that had nothing to cut from this very text: the next pass need not ask it again"""
        self.lost_to_meta = self.pieces_lost = 0  # in words, and as white space parts them

    def once(self, seen: frozenset[str]) -> Cleaned | None:
        """The result after one pass over the rules that what was seen calls for; None where the text changed."""
        before = self.text
        self.view.faceless = "face_at_all" not in seen
        marks: list[Mark] = []
        for step in self.plan.steps:
            if NEEDS[step.rule] not in seen or (step.rule in MARKING and not self.plan.editor):
                continue
            if step.rule in LAST and self.text is not before:
                continue  # another pass may settle what is left
            if step.rule in self.idle:
                marks += self.idle[step.rule]
                continue
            cuts: list[Cut] = []
            own: list[Mark] = []
            for finding in RULES[step.rule].find(self.view, self.row):
                if isinstance(finding, Drop):
                    return Cleaned(None, tuple(self.edits), finding.reason, step.rule)
                if isinstance(finding, Mark):
                    own.append(finding)
                else:
                    cuts.append(finding)
            changed, made = perform(cuts, self.text, step.rule, len(self.edits)) if cuts else (self.text, [])
            if not made:
                self.idle[step.rule] = own
                marks += own
                continue
            if step.on_hit == "drop":
                return Cleaned(None, tuple(self.edits), "flagged", step.rule)
            self.edits.extend(made)
            if step.rule in META:
                self.lost_to_meta += sum(size(key(edit.removed)) for edit in made)
                self.pieces_lost += sum(len(edit.removed.split()) for edit in made)
                if self.lost_to_meta > META_SHARE * max(size(key(self.row.text)), 1) or (
                    self.pieces_lost > META_SHARE * max(len(self.row.text.split()), 1)
                ):
                    return Cleaned(None, tuple(self.edits), "meta_talk", step.rule)
            self.text = changed
            faceless = self.view.faceless and step.rule != "encoding"
            self.view = View(changed)
            self.view.faceless = faceless
            marks, self.idle = [], {}
            seen = EVERYTHING if step.rule == "encoding" else seen | AFTER_EDIT
        return Cleaned(self.text, tuple(self.edits), flags=tuple(marks)) if self.text == before else None


def clean_rows(rows: Iterable[Row], plan: Plan, workers: int = 1) -> Iterator[tuple[Row, Cleaned]]:
    """Every row with what became of it, in the order of the input; memory does not grow with the number of rows."""
    if workers <= 1:
        for chunk in _chunks(rows):
            yield from zip(chunk, clean_batch(chunk, plan), strict=True)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (plan,))
    try:
        waiting: deque[tuple[list[Row], Future[list[Cleaned]]]] = deque()
        for chunk in _chunks(rows):
            with _deaf():  # to Ctrl-C, which is this process's: the children would each print a traceback
                waiting.append((chunk, pool.submit(_clean_chunk, chunk)))
            if len(waiting) > 3 * workers:
                yield from _results(*waiting.popleft())
        while waiting:
            yield from _results(*waiting.popleft())
    except BrokenProcessPool:
        raise CaiError(
            "clean", "a worker process was killed", got="no result", next_step="free memory, or take fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _results(chunk: list[Row], result: Future[list[Cleaned]]) -> Iterator[tuple[Row, Cleaned]]:
    yield from zip(chunk, result.result(), strict=True)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started meanwhile never see an interrupt; this one sees it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    stream = iter(rows)
    while chunk := list(islice(stream, CHUNK)):
        yield chunk


_PLAN: list[Plan] = []


def _begin(plan: Plan) -> None:
    _PLAN[:] = [plan]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a killed parent tells nobody, and the queue would wait for ever


def _clean_chunk(chunk: list[Row]) -> list[Cleaned]:
    return clean_batch(chunk, _PLAN[0])


NOT_GENERATED = "not generated"
"""Why a row is dropped whose reply never came; in the table of drops its error follows."""


def metrics(results: Iterable[tuple[Row, Cleaned]], plan: Plan, n_not_generated: int = 0) -> dict[str, object]:
    """Counts over all rows, in = kept + dropped: kept share and characters, and for every rule of the plan the rows and
    characters that it touched in kept rows, and its drops."""
    n_rows, n_kept, n_edited, chars_in, chars_kept = n_not_generated, 0, 0, 0, 0
    rows: Counter[str] = Counter()
    chars: Counter[str] = Counter()
    n_edits: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    reasons = Counter({NOT_GENERATED: n_not_generated} if n_not_generated else {})
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
        "n_chars_in": chars_in,
        "n_chars_kept": chars_kept,
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
            for rule in (*(step.rule for step in plan.steps), *([EDITOR] if plan.editor else []))
        },
    }

"""Cleaning of a whole file, JSONL (also gzipped) or Parquet, with the stage's own function and in flat memory."""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cai.cleaning.clean import NOT_GENERATED, Cleaned, Row, clean_rows
from cai.cleaning.plan import Plan
from cai.cleaning.reading import Read, Source
from cai.cleaning.writing import Outputs, refuse_same
from cai.errors import ParamsError


@dataclass
class Summary:
    """What happened to a file: rows, edits and drops."""

    n_rows: int = 0
    n_kept: int = 0
    n_edited: int = 0
    n_chars_in: int = 0
    n_chars_kept: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    chars: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_by: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, cleaned: Cleaned) -> None:
        """Count one row."""
        self.n_chars_in += len(row.text)
        if cleaned.text is None:
            self.add_dropped(cleaned.reason or "", cleaned.rule or "")
            return
        self.n_rows += 1
        self.n_kept += 1
        self.n_chars_kept += len(cleaned.text)
        if not cleaned.edits:
            return
        self.n_edited += 1
        self.rows.update({edit.rule for edit in cleaned.edits})
        for edit in cleaned.edits:
            self.chars[edit.rule] += len(edit.removed)

    def add_dropped(self, reason: str, rule: str) -> None:
        """Count one dropped row."""
        self.n_rows += 1
        self.dropped[reason] += 1
        self.dropped_by[rule] += 1

    def table(self) -> Any:
        """A rich table of the summary."""
        from rich.table import Table

        rows = f" ({100 * self.n_kept / self.n_rows:.1f} %)" if self.n_rows else ""
        chars = f", {100 * self.n_chars_kept / self.n_chars_in:.1f} % of the characters" if self.n_chars_in else ""
        dropped = ", ".join(f"{reason} {n}" for reason, n in sorted(self.dropped.items()))
        table = Table(
            title=f"{self.n_rows} rows, {self.n_kept} kept{rows}{chars}, {self.n_edited} edited",
            caption=f"dropped: {dropped}" if dropped else None,
        )
        for name in ("rule", "rows edited", "characters removed", "rows dropped"):
            table.add_column(name, justify="left" if name == "rule" else "right")
        for rule in sorted({*self.rows, *self.dropped_by}):
            table.add_row(rule, str(self.rows[rule]), str(self.chars[rule]), str(self.dropped_by[rule]))
        return table


class Bar:
    """Shows on a terminal how many rows are done, and the share of the file where its length is known."""

    def __init__(self, what: str) -> None:
        self.what, self.said = what, 0.0

    def __call__(self, n_rows: int, share: float | None, ended: bool = False) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - self.said < 0.2 and not ended):
            return
        self.said = now
        shown = "" if share is None else f" [{'#' * int(24 * share):.<24}]"
        sys.stderr.write(f"\r{self.what}{shown} {n_rows:,} rows" + "\n" * ended)
        sys.stderr.flush()


def clean_file(
    source: Path | str,
    target: Path | str,
    *,
    plan: Plan,
    text_key: str = "revision",
    prompt_key: str = "prompt",
    edits: Path | str | None = None,
    dropped: Path | str | None = None,
    workers: int = 1,
    progress: Callable[[int, float | None, bool], None] | None = None,
) -> Summary:
    """The summary, after the kept rows stand in target in input order, every other key as it was.

    ``-`` is stdin or stdout (JSONL). Keys ``response``, ``critique`` and ``finish_reason`` are used where a row has them; a row
    without a text whose ``finish_reason`` is "error" is dropped, as the stage does. Edits and dropped rows name the row by its
    1-based number ``row`` (in JSONL the line) and, where there is one, its ``prompt_id``.

    Raises ArtifactError naming file, line and key for input that cannot be read and for an output that cannot be written,
    ParamsError where two names are one file or the plan wants the editor. All outputs appear together or none does.
    """
    refuse_same(source, out=target, edits=edits, dropped=dropped)
    if plan.editor:
        raise ParamsError(
            f"clean.variants.{plan.variant}",
            "the editor needs a model and runs in the stage only",
            next_step="take a variant without it",
        )
    summary = Summary()
    read = Source(source, text_key, (prompt_key, *OTHERS, "prompt_id", "error"))
    read.open()
    with Outputs() as outputs:
        sink = outputs.add(target, text_key, read.schema)
        edit_sink = outputs.add(edits) if edits else None
        drop_sink = outputs.add(dropped) if dropped else None
        held: deque[Read] = deque()

        def rows() -> Iterator[Row]:
            for one in read:
                held.append(one)
                if one.record[text_key] is not None:
                    yield _row(one, text_key, prompt_key)

        def drop(one: Read, reason: str, rule: str) -> None:
            if drop_sink:
                drop_sink.add({**_names(one), "reason": reason, "rule": rule, text_key: one.record[text_key]})

        def drop_unwritten() -> None:
            while held and held[0].record[text_key] is None:
                one = held.popleft()
                summary.add_dropped(NOT_GENERATED, "none")
                drop(one, f"{NOT_GENERATED}: {one.record.get('error')}", "none")

        for row, cleaned in clean_rows(rows(), plan, workers):
            drop_unwritten()
            one = held.popleft()
            summary.add(row, cleaned)
            if cleaned.text is None:
                drop(one, cleaned.reason or "", cleaned.rule or "")
            else:
                sink.put(one.whole, None if cleaned.text == row.text else cleaned.text)
                if edit_sink:
                    for edit in cleaned.edits:
                        edit_sink.add({**_names(one), **edit._asdict()})
            if progress is not None and summary.n_rows % 256 == 0:
                progress(summary.n_rows, read.share, False)
        drop_unwritten()
    if progress is not None:
        progress(summary.n_rows, 1.0, True)
    return summary


OTHERS = ("response", "critique", "finish_reason")


def _names(one: Read) -> dict[str, Any]:
    prompt_id = one.record.get("prompt_id")
    return {"row": one.number, **({"prompt_id": prompt_id} if isinstance(prompt_id, str) else {})}


def _row(one: Read, text_key: str, prompt_key: str) -> Row:
    def known(name: str) -> str | None:
        value = one.record.get(name)
        return value if isinstance(value, str) else None

    return Row(str(one.number), one.record[text_key], known(prompt_key), *map(known, OTHERS))

"""Cleaning of a whole file, JSONL (also gzipped) or Parquet, with the stage's own function and in flat memory."""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from cai.cleaning.clean import Cleaned, Row, clean_rows
from cai.cleaning.plan import Plan
from cai.errors import ArtifactError, ParamsError

STANDARD = "-"
BATCH = 2048


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
        self.n_rows += 1
        self.n_chars_in += len(row.text)
        if cleaned.text is None:
            self.dropped[cleaned.reason or ""] += 1
            self.dropped_by[cleaned.rule or ""] += 1
            return
        self.n_kept += 1
        self.n_chars_kept += len(cleaned.text)
        self.n_edited += bool(cleaned.edits)
        self.rows.update({edit.rule for edit in cleaned.edits})
        for edit in cleaned.edits:
            self.chars[edit.rule] += len(edit.removed)

    def table(self) -> Any:
        """A rich table of the summary."""
        from rich.table import Table

        share = f" ({100 * self.n_kept / self.n_rows:.1f} %)" if self.n_rows else ""
        table = Table(title=f"{self.n_rows} rows, {self.n_kept} kept{share}, {self.n_edited} of them edited")
        for name in ("rule", "rows edited", "characters removed", "rows dropped"):
            table.add_column(name, justify="left" if name == "rule" else "right")
        for rule in sorted({*self.rows, *self.dropped_by}):
            table.add_row(rule, str(self.rows[rule]), str(self.chars[rule]), str(self.dropped_by[rule]))
        return table


class Bar:
    """Shows on a terminal how many rows are done, and the share where their number is known."""

    def __init__(self, what: str) -> None:
        self.what, self.said = what, 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - self.said < 0.2 and done != total):
            return
        self.said = now
        share = "" if not total else f" [{'#' * (24 * done // total):.<24}]"
        sys.stderr.write(f"\r{self.what}{share} {done:,} rows")
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
    progress: Callable[[int, int | None], None] | None = None,
) -> Summary:
    """The summary, after the kept rows stand in target in input order, every other key as it was.

    ``-`` is stdin or stdout (JSONL). Keys ``response``, ``critique`` and ``finish_reason`` are used where a row has them.
    Edits and dropped rows name the row by its 1-based number ``row`` and, where there is one, its ``prompt_id``.
    Raises ArtifactError naming file, line and key for input that cannot be read, ParamsError where two names are one
    file or the plan wants the editor; nothing is left half-written.
    """
    _refuse_same(source, target, edits, dropped)
    if plan.editor:
        raise ParamsError(
            f"clean.variants.{plan.variant}",
            "the editor needs a model and runs in the stage only",
            next_step="take a variant without it",
        )
    summary = Summary()
    total = _n_rows(source)
    with ExitStack() as stack:
        read = _reader(source, text_key)
        sink = stack.enter_context(_Sink(target, like=source))
        edit_sink = stack.enter_context(_Sink(edits)) if edits else None
        drop_sink = stack.enter_context(_Sink(dropped)) if dropped else None
        held: list[tuple[Row, Any]] = []

        def rows() -> Iterator[Row]:
            for number, record, raw in read:
                row = _row(number, record, text_key, prompt_key)
                held.append((row, raw))
                yield row

        waiting = 0
        for row, cleaned in clean_rows(rows(), plan, workers):
            raw = held[waiting][1]
            waiting += 1
            if waiting >= BATCH:
                del held[:waiting]
                waiting = 0
            summary.add(row, cleaned)
            names = {"row": int(row.key)}
            record = raw if isinstance(raw, Mapping) else None
            if (cleaned.edits and (edit_sink or cleaned.text != row.text)) or cleaned.text is None:
                record = json.loads(raw) if record is None else record
                if isinstance(record.get("prompt_id"), str):
                    names |= {"prompt_id": record["prompt_id"]}
            if cleaned.text is None:
                if drop_sink:
                    drop_sink.write({**names, "reason": cleaned.reason, "rule": cleaned.rule, text_key: row.text})
            else:
                sink.write(raw if cleaned.text == row.text else {**(record or {}), text_key: cleaned.text})
                if edit_sink:
                    for edit in cleaned.edits:
                        edit_sink.write({**names, **edit._asdict()})
            if progress is not None and summary.n_rows % 256 == 0:
                progress(summary.n_rows, total)
    if progress is not None:
        progress(summary.n_rows, summary.n_rows)
    return summary


def _row(number: int, record: Mapping[str, Any], text_key: str, prompt_key: str) -> Row:
    def known(name: str) -> str | None:
        value = record.get(name)
        return value if isinstance(value, str) else None

    return Row(
        str(number), record[text_key], known(prompt_key), known("response"), known("critique"), known("finish_reason")
    )


def _reader(source: Path | str, text_key: str) -> Iterator[tuple[int, Mapping[str, Any], Any]]:
    """(number, record, what to write back for an untouched row) of every row."""
    if str(source).endswith(".parquet"):
        yield from _parquet(Path(source), text_key)
        return
    place = "stdin" if str(source) == STANDARD else str(source)
    with ExitStack() as stack:
        if str(source) == STANDARD:
            stream: IO[bytes] = sys.stdin.buffer
        else:
            try:
                stream = stack.enter_context(open(source, "rb"))
            except OSError as error:
                raise ArtifactError(place, "cannot be read", got=error.strerror) from error
        if _gzipped(source):
            stream = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=stream)))
        for number, line in enumerate(_lines(stream, place), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ArtifactError(f"{place}:{number}", "no valid JSON", got=str(error)) from error
            except RecursionError:
                raise ArtifactError(f"{place}:{number}", "JSON nested too deeply") from None
            _check(f"{place}:{number}", record, text_key)
            yield number, record, line.rstrip(b"\r\n")


def _lines(stream: IO[bytes], place: str) -> Iterator[bytes]:
    try:
        yield from stream
    except (OSError, EOFError, zlib.error) as error:
        raise ArtifactError(place, "cannot be read to its end", got=str(error)) from error


def _gzipped(path: Path | str) -> bool:
    return str(path).endswith(".gz")


def _parquet(source: Path, text_key: str) -> Iterator[tuple[int, Mapping[str, Any], Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(source)
    except (OSError, pa.ArrowInvalid) as error:
        raise ArtifactError(str(source), "cannot be read as Parquet", got=str(error)) from error
    if text_key not in table.schema_arrow.names:
        raise ArtifactError(
            str(source), f"no column {text_key}", got=", ".join(table.schema_arrow.names), next_step="--text-key"
        )
    number = 0
    for batch in table.iter_batches(BATCH):
        for record in batch.to_pylist():
            number += 1
            _check(f"{source}:{number}", record, text_key)
            yield number, record, record


def _check(place: str, record: Any, text_key: str) -> None:
    if not isinstance(record, dict):
        raise ArtifactError(place, "a row is an object", got=type(record).__name__)
    if text_key not in record:
        raise ArtifactError(place, f"no key {text_key}", got=", ".join(record) or "no keys", next_step="--text-key")
    if not isinstance(record[text_key], str):
        raise ArtifactError(
            place, f"key {text_key} holds no text", got=type(record[text_key]).__name__, expected="a string"
        )


def _n_rows(source: Path | str) -> int | None:
    if str(source).endswith(".parquet") and Path(source).exists():
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return int(pq.ParquetFile(source).metadata.num_rows)
        except pa.ArrowInvalid:
            return None
    return None


def _refuse_same(source: Path | str, *targets: Path | str | None) -> None:
    seen = {"in": source}
    for name, path in zip(("out", "edits", "dropped"), targets, strict=True):
        if path is None:
            continue
        for other, taken in seen.items():
            both_standard = str(path) == STANDARD == str(taken)
            if both_standard and other == "in":
                continue
            if both_standard or (
                STANDARD not in (str(path), str(taken)) and Path(path).resolve() == Path(taken).resolve()
            ):
                raise ParamsError(str(path), f"{name} and {other} are the same file", next_step="name another one")
        seen[name] = path


def _encoded(row: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8
        return json.dumps(row, default=str).encode()


class _Sink:
    """One output, written under a temporary name and renamed when everything is done; for standard output a nameless
    file, copied at the end, so that a reader behind a pipe gets all rows or none."""

    def __init__(self, path: Path | str, like: Path | str | None = None) -> None:
        self.standard = str(path) == STANDARD
        self.path = Path(path)
        self.parquet = str(path).endswith(".parquet")
        self.like = like
        self.part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def __enter__(self) -> _Sink:
        self.stream: IO[bytes] | None = None
        self.under: IO[bytes] | None = None
        self.writer: Any = None
        self.rows: list[Mapping[str, Any]] = []
        self.schema: Any = None
        if not self.standard and not self.path.parent.is_dir():
            raise ArtifactError(str(self.path), "cannot be written", got=f"no folder {self.path.parent}")
        if self.parquet:
            if str(self.like).endswith(".parquet"):
                import pyarrow.parquet as pq

                self.schema = pq.read_schema(self.like) if Path(str(self.like)).exists() else None
        elif self.standard:
            self.stream = cast(IO[bytes], tempfile.TemporaryFile())
        else:
            try:
                self.stream = open(self.part, "wb")
                if _gzipped(self.path):  # without a time and a name in its head: same rows, same bytes
                    self.under = self.stream
                    self.stream = cast(IO[bytes], gzip.GzipFile("", "wb", fileobj=self.under, mtime=0))
            except OSError as error:
                raise ArtifactError(str(self.path), "cannot be written", got=error.strerror) from error
        return self

    def write(self, row: Mapping[str, Any] | bytes) -> None:
        if self.parquet:
            self.rows.append(json.loads(row) if isinstance(row, bytes) else row)
            if len(self.rows) >= BATCH:
                self._flush()
            return
        assert self.stream is not None
        self.stream.write((row if isinstance(row, bytes) else _encoded(row)) + b"\n")

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        batch = pa.Table.from_pylist([dict(row) for row in self.rows], schema=self.schema)
        if self.writer is None:
            self.schema = batch.schema
            self.writer = pq.ParquetWriter(self.part, self.schema)
        self.writer.write_table(batch)
        self.rows = []

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.parquet and kind is None and (self.rows or self.writer is None):
            self._flush()
        if self.writer is not None:
            self.writer.close()
        if self.standard:
            assert self.stream is not None
            with self.stream:
                if kind is None:
                    self.stream.seek(0)
                    shutil.copyfileobj(self.stream, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
            return
        if self.stream is not None:
            self.stream.close()
        if self.under is not None:
            self.under.close()
        if kind is None:
            os.replace(self.part, self.path)
        else:
            self.part.unlink(missing_ok=True)

"""Rows into a file, whole or not at all: JSONL (also gzipped) byte for byte, or Parquet with every column."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import gzip
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from cai.cleaning.reading import BATCH, STANDARD, Slot, is_gzipped, is_parquet, places
from cai.errors import ArtifactError, ParamsError

_GROUP = 8 * BATCH
_AS_JSON = "write JSONL"
_TO_STDOUT = (STANDARD, "/dev/stdout")


class Outputs:
    """Several outputs that appear together, when everything is done, or not at all."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []

    def add(self, path: Path | str, text_key: str = "", schema: Any = None) -> Sink:
        """One more output; with a ``schema`` its rows come out of a Parquet file.

        Raises ArtifactError where the file system does not take it.
        """
        kind = Sink if not is_parquet(path) else _Columns if schema is not None else _Inferred
        sink = kind(str(path), text_key, schema)
        sink.guarded(sink.open)
        self.sinks.append(sink)
        return sink

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                for sink in self.sinks:
                    sink.guarded(sink.finish)
                for sink in sorted(self.sinks, key=lambda one: not one.passing):  # what a rename cannot do comes first
                    sink.guarded(sink.commit)
        finally:
            for sink in self.sinks:
                sink.close()


class Sink:
    """A JSONL output. Its file has no name before all rows are in it, where the file system can do that: a killed run
    leaves nothing. Standard output, pipes and devices get their bytes in the end, so a reader gets all rows or none."""

    def __init__(self, path: str, text_key: str, schema: Any) -> None:
        self.path, self.text_key, self.schema = path, text_key, schema
        self.place = "stdout" if path in _TO_STDOUT else path
        self.target = Path(os.path.realpath(path))  # through a link, as everything that writes a file does
        self.passing = path in _TO_STDOUT or (self.target.exists() and not self.target.is_file())
        self.part: Path | None = None
        self.file: IO[bytes] | None = None
        self.stream: IO[bytes] | None = None
        self.batch: Any = None
        self.records: list[dict[str, Any]] = []

    def guarded(self, step: Callable[[], None]) -> None:
        """Do a step; what the file system or Arrow refuses is an ArtifactError that names this output."""
        try:
            step()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ArtifactError(
                self.place,
                "cannot be written",
                got=error.strerror or str(error),
                next_step="free space, or name another file" + ("" if self.passing else "; nothing was written"),
            ) from None
        except Exception as error:
            import pyarrow as pa

            if not isinstance(error, pa.ArrowException):
                raise
            raise ArtifactError(self.place, "cannot be written as Parquet", got=error, next_step=_AS_JSON) from None

    def open(self) -> None:
        """Open a nameless file beside the target."""
        if self.path in _TO_STDOUT and sys.stdout is None:
            raise ArtifactError(self.place, "is closed")
        if self.target.is_dir() or self.path.endswith("/"):
            raise ArtifactError(self.place, "cannot be written", got="a folder", expected="the name of a file")
        if not self.passing and not self.target.parent.is_dir():
            raise ArtifactError(
                self.place,
                "cannot be written",
                got=f"no folder {Path(self.path).parent}",
                next_step="make the folder first",
            )
        self.file = _unnamed() if self.passing else self._nameless()
        # Without a time and a name in its head: same rows, same bytes.
        zipped = is_gzipped(self.path)
        self.stream = cast(IO[bytes], gzip.GzipFile("", "wb", fileobj=self.file, mtime=0)) if zipped else self.file

    def _nameless(self) -> IO[bytes]:
        folder, flags = self.target.parent, getattr(os, "O_TMPFILE", 0)
        if flags and Path("/proc/self/fd").is_dir():
            with contextlib.suppress(OSError):
                return os.fdopen(os.open(folder, flags | os.O_RDWR | os.O_CLOEXEC, 0o666), "w+b")
        self.part = folder / f".{self.target.name}.{os.getpid()}.part"
        return open(self.part, "w+b")

    def put(self, whole: bytes | Slot, text: str | None) -> None:
        """One row of the input; with a text, that one instead of its own, and all else as it was."""
        if isinstance(whole, Slot):
            if self.batch is not whole.batch:
                self.batch, self.records = whole.batch, _records(whole.batch)
            row = self.records[whole.place]
            self.add(row if text is None else {**row, self.text_key: text})
        else:
            self.write(whole if text is None else spliced(whole, self.text_key, text))

    def add(self, row: Mapping[str, Any]) -> None:
        """One row of ours."""
        self.write(encoded(row, self.place))

    def write(self, line: bytes) -> None:
        """One line, without its end."""
        stream = self.stream
        assert stream is not None
        try:
            stream.write(line + b"\n")
        except OSError as error:
            self.guarded(_raising(error))

    def finish(self) -> None:
        """Everything that was put, into the file."""
        assert self.stream is not None and self.file is not None
        if self.stream is not self.file:
            self.stream.close()
        self.file.flush()

    def commit(self) -> None:
        """Make the file appear under its name, or copy it out."""
        assert self.file is not None
        if self.passing:
            self.file.seek(0)
            if self.path in _TO_STDOUT:
                shutil.copyfileobj(self.file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                with open(self.target, "wb") as out:
                    shutil.copyfileobj(self.file, out)
            return
        if self.part is None:
            named = self.target.parent / f".{self.target.name}.{os.getpid()}.part"
            folder = os.open("/proc/self/fd", os.O_RDONLY)  # given as a folder, or os.link would link to the link there
            try:
                os.link(str(self.file.fileno()), named, src_dir_fd=folder)
            finally:
                os.close(folder)
            self.part = named
        os.replace(self.part, self.target)
        self.part = None

    def close(self) -> None:
        """Let go of the file; what was not committed is gone."""
        for stream in (self.stream, self.file):
            with contextlib.suppress(OSError, ValueError):  # a full disk said so before
                if stream is not None:
                    stream.close()
        if self.part is not None:
            self.part.unlink(missing_ok=True)


class _Columns(Sink):
    """A Parquet output of a Parquet input: the input's own columns, of whatever type, but for the text."""

    writer: Any = None

    def open(self) -> None:
        import pyarrow.parquet as pq

        super().open()
        self.writer = pq.ParquetWriter(self.file, self.schema)
        self.slots: list[tuple[Slot, str | None]] = []
        self.tables: list[Any] = []
        self.n_rows = 0

    def put(self, whole: bytes | Slot, text: str | None) -> None:
        assert isinstance(whole, Slot)
        if self.slots and self.slots[0][0].batch is not whole.batch:
            self.guarded(self._end_batch)
        self.slots.append((whole, text))

    def _end_batch(self) -> None:
        import pyarrow as pa

        if not self.slots:
            return
        batch = self.slots[0][0].batch
        kept = batch.take(pa.array([slot.place for slot, _ in self.slots]))
        if any(text is not None for _, text in self.slots):
            at = kept.schema.get_field_index(self.text_key)
            old = kept.column(at).to_pylist()
            new = [own if text is None else text for own, (_, text) in zip(old, self.slots, strict=True)]
            kept = kept.set_column(at, kept.schema.field(at), pa.array(new, type=kept.schema.field(at).type))
        self.tables.append(kept)
        self.n_rows += kept.num_rows
        self.slots = []
        if self.n_rows >= _GROUP:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        if self.tables:
            self.writer.write_table(pa.Table.from_batches(self.tables, schema=self.schema))
            self.tables, self.n_rows = [], 0

    def finish(self) -> None:
        self._end_batch()
        self._write()
        self.writer.close()
        super().finish()

    def close(self) -> None:
        if self.writer is not None:
            with contextlib.suppress(Exception):  # it writes a foot into a file that nobody will see
                self.writer.close()
        super().close()


class _Inferred(Sink):
    """A Parquet output of JSON rows: written when all are there, since the last may have a key that the first lacks."""

    def open(self) -> None:
        super().open()
        self.rows = _unnamed()
        self.stream = self.rows

    def finish(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema, n_before = pa.schema([]), 0
        for rows in self._batches():
            schema = self._unified(schema, rows, n_before)
            n_before += len(rows)
        with pq.ParquetWriter(self.file, schema) as writer:
            for rows in self._batches():
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        assert self.file is not None
        self.file.flush()

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        self.rows.seek(0)
        lines = iter(self.rows)
        while taken := list(islice(lines, BATCH)):
            yield [json.loads(line) for line in taken]

    def _unified(self, schema: Any, rows: Sequence[Mapping[str, Any]], n_before: int) -> Any:
        for key in dict.fromkeys(name for row in rows for name in row):
            try:
                schema = _with(schema, key, [row.get(key) for row in rows])
                continue
            except _UNFIT as error:
                one, got = schema, str(error)
            for number, row in enumerate(rows, n_before + 1):  # which row it is
                try:
                    one = _with(one, key, [row.get(key)])
                except _UNFIT as error:
                    got = f"{error} in row {number} of what is kept"
                    break
            raise ArtifactError(
                self.place,
                f"key {key} fits no one type of Parquet's",
                got=got,
                expected="values of one type",
                next_step=_AS_JSON,
            )
        return schema


_UNFIT = (ValueError, TypeError, NotImplementedError, OverflowError)  # Arrow's own errors among them


def _with(schema: Any, key: str, values: Sequence[Any]) -> Any:
    import pyarrow as pa

    one = pa.schema([pa.field(key, pa.array(values).type)])
    return pa.unify_schemas([schema, one], promote_options="permissive")


def spliced(line: bytes, key: str, text: str) -> bytes:
    """The line with another text as the value of the key; every other byte as it was.

    >>> spliced(b'{"a": "x", "n": 1.50}', "a", "y")
    b'{"a": "y", "n": 1.50}'
    """
    whole = line.decode()
    start, end = places(whole, key)[-1]
    plain = whole.isascii()
    try:
        return f"{whole[:start]}{json.dumps(text, ensure_ascii=plain)}{whole[end:]}".encode()
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8
        return f"{whole[:start]}{json.dumps(text)}{whole[end:]}".encode()


def encoded(row: Mapping[str, Any], place: str) -> bytes:
    """One row as JSON. Dates and times are in ISO 8601, decimals strings.

    Raises ArtifactError naming the key for a value that JSON has no form for.
    """
    try:
        return json.dumps(row, ensure_ascii=False, default=_plain).encode()
    except UnicodeEncodeError:
        return json.dumps(row, default=_plain).encode()
    except TypeError as error:
        at = next((key for key, value in row.items() if not _has_form(value)), "")
        raise ArtifactError(
            place,
            f"JSON has no form for what column {at} holds",
            got=error,
            next_step="write Parquet, or leave the column out",
        ) from None


def _has_form(value: Any) -> bool:
    try:
        return bool(json.dumps(value, default=_plain))
    except TypeError:
        return False


def _plain(value: Any) -> str:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, datetime.timedelta)):
        return str(value)
    raise TypeError(type(value).__name__)


def _records(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch; times that Python holds no form for (nanoseconds) as text."""
    import pyarrow as pa

    columns = []
    for column in batch.columns:
        try:
            columns.append(column.to_pylist())
        except ValueError:
            columns.append(column.cast(pa.string()).to_pylist())
    return [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def refuse_same(source: Path | str, **targets: Path | str | None) -> None:
    """Raises ParamsError where two of the files are one, under whatever names."""
    seen = {"in": (str(source), _identity(source, 0))}
    for name, path in targets.items():
        if path is None:
            continue
        identity = _identity(path, 1)
        for other, (taken, theirs) in seen.items():
            if identity == theirs:
                raise ParamsError(
                    str(path),
                    f"{name} and {other} are the same file",
                    got=f"{taken} and {path}",
                    next_step="name another one",
                )
        seen[name] = (str(path), identity)


def _identity(path: Path | str, standard: int) -> object:
    """What is the same for two names of one file; standard streams are the files that they are connected to."""
    text = str(path)
    try:
        found = os.fstat(standard) if text in _TO_STDOUT else os.stat(text)
    except OSError:
        found = None
    if found is not None and stat.S_ISREG(found.st_mode):
        return found.st_dev, found.st_ino
    if text in _TO_STDOUT:
        return ("stdin", "stdout")[standard]
    if found is not None and stat.S_ISCHR(found.st_mode):
        return object()  # /dev/null takes everything
    return os.path.realpath(text)


def _unnamed() -> IO[bytes]:
    return cast(IO[bytes], tempfile.TemporaryFile())


def _raising(error: OSError) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step

"""Rows out of a file that shall be cleaned: JSONL (also gzipped) as its own bytes, or Parquet in batches."""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from json.decoder import scanstring  # type: ignore[attr-defined]  # untyped, and in json's own documented layout
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from cai.errors import ArtifactError

STANDARD = "-"
BATCH = 2048
NEXT_KEY = "name the text's key with --text-key"
PATH = "check the path; - is stdin"
_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Slot(NamedTuple):
    """A row of a Parquet file: the record batch that holds it, and its place there."""

    batch: Any
    place: int


class Read(NamedTuple):
    """A row as it stands in the file: its 1-based line or row, what cleaning looks at, and all of it."""

    number: int
    record: Mapping[str, Any]
    whole: bytes | Slot


class Source:
    """The rows of a file, and how much of it is read.

    Raises ArtifactError that names file, line and key for whatever cannot be read or holds no text under ``text_key``.
    Null is allowed in a row whose ``finish_reason`` is "error": a reply that never came is data.
    """

    def __init__(self, path: Path | str, text_key: str, looked_at: tuple[str, ...]) -> None:
        self.path, self.text_key, self.looked_at = str(path), text_key, (text_key, *looked_at)
        self.place = "stdin" if self.path == STANDARD else self.path
        self.parquet = is_parquet(path)
        self.schema: Any = None
        """a Parquet file's own, once rows are read"""
        self.share: float | None = None
        """of the file that is read; None where its length is not known"""

    def __iter__(self) -> Iterator[Read]:
        return self._rows() if self.parquet else self._lines()

    def open(self) -> None:
        """Read a Parquet file's schema.

        Raises ArtifactError where there is none, or no column of texts under the key.
        """
        if not self.parquet:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open(self.path, "rb"):
                self._file = pq.ParquetFile(self.path)
        except OSError as error:
            raise ArtifactError(
                self.place, "cannot be read", got=error.strerror or str(error), next_step=PATH
            ) from None
        except pa.ArrowException as error:
            raise ArtifactError(self.place, "cannot be read as Parquet", got=str(error)) from None
        self.schema = self._file.schema_arrow
        names = self.schema.names
        if self.text_key not in names:
            raise ArtifactError(
                self.place, "no such column", got=", ".join(names), expected=self.text_key, next_step=NEXT_KEY
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ArtifactError(self.place, "columns share a name", got=", ".join(twice), expected="each name once")
        kind = self.schema.field(self.text_key).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
        if not any(test(value) for test in tests):
            raise ArtifactError(
                self.place, f"column {self.text_key} holds no texts", got=kind, expected="strings", next_step=NEXT_KEY
            )

    def _rows(self) -> Iterator[Read]:
        number, total = 0, max(self._file.metadata.num_rows, 1)
        wanted = [name for name in dict.fromkeys(self.looked_at) if name in self.schema.names]
        try:
            for batch in self._file.iter_batches(BATCH):
                for place, record in enumerate(batch.select(wanted).to_pylist()):
                    number += 1
                    self._check(f"{self.place}: row {number}", record)
                    yield Read(number, record, Slot(batch, place))
                self.share = number / total
        except (OSError, UnicodeDecodeError) as error:  # pyarrow's own errors about broken pages are OSErrors
            raise ArtifactError(self.place, "cannot be read to its end", got=str(error)) from None

    def _lines(self) -> Iterator[Read]:
        key = json.dumps(self.text_key).encode()
        with ExitStack() as stack:
            stream = file = self._stream(stack)
            length = _length(file)
            if is_gzipped(self.path):
                stream = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
            for number, line in enumerate(self._read(stream), 1):
                if number == 1:
                    line = line.removeprefix(_BOM)
                if not line.strip():
                    continue
                if length and number % 256 == 0:
                    self.share = file.tell() / length
                place = f"{self.place}:{number}"
                record = _parsed(place, line)
                self._check(place, record)
                # Which of two texts is meant nobody knows; a key further down in the row is another matter.
                if line.count(key) > 1 and len(places(line.decode(), self.text_key)) > 1:
                    raise ArtifactError(place, f"key {self.text_key} stands twice", expected="once in a row")
                yield Read(number, record, line.rstrip(b"\r\n"))

    def _stream(self, stack: ExitStack) -> IO[bytes]:
        if self.path == STANDARD:
            if sys.stdin is None:
                raise ArtifactError(self.place, "is closed")
            return sys.stdin.buffer
        try:
            return stack.enter_context(open(self.path, "rb"))
        except OSError as error:
            raise ArtifactError(self.place, "cannot be read", got=error.strerror, next_step=PATH) from None

    def _read(self, stream: IO[bytes]) -> Iterator[bytes]:
        try:
            yield from stream
        except (OSError, EOFError, zlib.error) as error:
            raise ArtifactError(self.place, "cannot be read to its end", got=str(error)) from None

    def _check(self, place: str, record: Any) -> None:
        key = self.text_key
        if not isinstance(record, dict):
            raise ArtifactError(place, "a row is an object", got=_kind(record), expected="{...}, one a line")
        if key not in record:
            got = ", ".join(record) or "no keys"
            raise ArtifactError(place, "no such key", got=got, expected=key, next_step=NEXT_KEY)
        value = record[key]
        if isinstance(value, str) or (value is None and record.get("finish_reason") == "error"):
            return
        raise ArtifactError(
            place,
            f"key {key} holds no text",
            got=_kind(value),
            expected="a string",
            next_step="mend or leave out the row",
        )


def is_parquet(path: Path | str) -> bool:
    """Whether a name says Parquet."""
    return str(path).lower().endswith(".parquet")


def is_gzipped(path: Path | str) -> bool:
    """Whether a name says gzip."""
    return str(path).lower().endswith(".gz")


def places(line: str, key: str) -> list[tuple[int, int]]:
    """Where the values of a key stand in a line that holds one JSON object; keys inside of values are not looked at.

    >>> places('{"a": "b", "c": {"a": 1}}', "a")
    [(6, 9)]
    """
    found = []
    at = _after_space(line, _after_space(line, 0) + 1)
    while line[at] == '"':
        name, at = scanstring(line, at + 1)
        at = _after_space(line, _after_space(line, at) + 1)
        end = scanstring(line, at + 1)[1] if line[at] == '"' else _DECODER.raw_decode(line, at)[1]
        if name == key:
            found.append((at, end))
        at = _after_space(line, end)
        at = _after_space(line, at + 1) if line[at] == "," else at
    return found


def _after_space(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return match.end() if match else at


def _parsed(place: str, line: bytes) -> Any:
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as error:
        got, fact = f"byte 0x{line[error.start]:02x} at byte {error.start + 1} of the line", "not UTF-8"
        raise ArtifactError(place, fact, got=got, expected="UTF-8", next_step="convert the file to UTF-8") from None
    except json.JSONDecodeError as error:
        got = f"{error.msg.removesuffix(' at')} at character {error.colno}"
    except RecursionError:
        got = "brackets nested too deeply"
    except ValueError:  # json's own limit on the digits of an integer
        got = "a number of thousands of digits"
    raise ArtifactError(
        place, "no valid JSON", got=got, expected="one object a line", next_step="mend or leave out the line"
    )


def _kind(value: Any) -> str:
    kinds = {"NoneType": "null", "bool": "a boolean", "int": "a number", "float": "a number", "list": "a list"}
    return kinds.get(
        type(value).__name__, {"dict": "an object", "str": "a string"}.get(type(value).__name__, "no text")
    )


def _length(file: IO[bytes]) -> int:
    """Bytes of a file; 0 for a pipe."""
    try:
        if not file.seekable():
            return 0
        at = file.tell()
        length = file.seek(0, 2)
        file.seek(at)
        return length
    except (OSError, ValueError, AttributeError):
        return 0

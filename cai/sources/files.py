"""Rows out of one file, or one error that says what is wrong with it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cai.errors import ArtifactError

Row = dict[str, Any]

_LFS: Final = b"version https://git-lfs"
_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"


def read_rows(path: Path) -> list[Row]:
    """The rows of a ``.jsonl``, ``.json``, ``.csv`` (each also ``.gz``) or ``.parquet`` file, in file order.

    A JSON file may hold one array or one object a line, whatever its name says: HH-RLHF's
    ``red_team_attempts.jsonl.gz`` is an array.

    Raises:
        ArtifactError: missing, empty, git-LFS pointer, truncated, not UTF-8, not JSON (the line is named), not rows.
    """
    readers: Mapping[str, Callable[[bytes, Path], list[Row]]] = {
        ".jsonl": _json_rows,
        ".ndjson": _json_rows,
        ".json": _json_rows,
        ".csv": _csv_rows,
        ".parquet": _parquet_rows,
    }
    names = [suffix.lower() for suffix in path.suffixes]
    kind = next((name for name in reversed(names) if name != ".gz"), "")
    if kind not in readers:
        raise ArtifactError(
            str(path),
            "unknown kind of file",
            got=kind or "no suffix",
            expected=_KINDS,
            next_step="give the file the suffix of what it holds",
        )
    rows = readers[kind](read_bytes(path), path)
    if not rows:
        raise ArtifactError(str(path), "holds no rows", got="0", expected="at least one", next_step=_FETCH_AGAIN)
    for number, row in enumerate(rows, start=1):
        _check_encodable(row, f"{path}: row {number}")
    return rows


def read_folder(path: Path) -> list[tuple[str, list[Row]]]:
    """(file name, rows) for a file, or for every data file directly inside a folder, sorted by name."""
    if not path.is_dir():
        return [(path.name, read_rows(path))]
    inside = sorted(p for p in path.iterdir() if p.is_file() and _data_suffix(p))
    if not inside:
        raise ArtifactError(
            str(path),
            "folder without data files",
            got="none",
            expected=_KINDS,
            next_step="check the path in params.yaml",
        )
    return [(p.name, read_rows(p)) for p in inside]


def content_sha256(path: Path) -> str:
    """64 hex digits of a file's bytes; of a folder, of the digests of its data files in order of their names."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    inside = sorted(p for p in path.iterdir() if p.is_file() and _data_suffix(p))
    return hashlib.sha256("".join(f"{p.name} {content_sha256(p)}\n" for p in inside).encode()).hexdigest()


_KINDS: Final = ".jsonl, .json or .csv (each also .gz), or .parquet"
_FETCH_AGAIN: Final = "get the file again and compare its size with the source's"
_FETCH_LFS: Final = "git lfs pull in the repository it came from, or download the file itself"


def _data_suffix(path: Path) -> bool:
    names = [suffix.lower() for suffix in path.suffixes]
    return any(name in (".jsonl", ".ndjson", ".json", ".csv", ".parquet") for name in names)


def read_bytes(path: Path) -> bytes:
    """What a file holds, unpacked if it is a gzip stream.

    Raises:
        ArtifactError: missing, unreadable, empty, git-LFS pointer, or not a whole gzip stream.
    """
    place = str(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            place, "no such file", got="nothing", expected=_KINDS, next_step="check the path in params.yaml"
        ) from None
    except IsADirectoryError:
        raise ArtifactError(
            place, "a folder", got="a folder", expected="a file", next_step="name a file in it"
        ) from None
    except OSError as error:
        raise ArtifactError(
            place, "cannot be read", got=error.strerror, expected="a readable file", next_step="check its permissions"
        ) from None
    if not content:
        raise ArtifactError(place, "the file is empty", got="0 bytes", expected="rows", next_step=_FETCH_AGAIN)
    _refuse_lfs(content, place)
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except EOFError:
            raise ArtifactError(
                place,
                "the gzip stream ends too early",
                got=f"{path.stat().st_size} bytes",
                expected="a whole stream",
                next_step=_FETCH_AGAIN,
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ArtifactError(
                place,
                "the gzip stream is broken",
                got=str(error),
                expected="a whole stream",
                next_step=_FETCH_AGAIN,
            ) from None
        _refuse_lfs(content, place)
    elif path.suffix.lower() == ".gz":
        raise ArtifactError(
            place,
            "not a gzip file",
            got=f"first bytes {content[:4].hex(' ')}",
            expected="1f 8b",
            next_step="take .gz off its name if it is not packed",
        )
    if not content.strip():
        raise ArtifactError(place, "the file is empty", got="white space only", expected="rows", next_step=_FETCH_AGAIN)
    return content


def _refuse_lfs(content: bytes, place: str) -> None:
    if content.startswith(_LFS):
        raise ArtifactError(
            place,
            "a git-LFS pointer, not the data",
            got=f"{len(content)} bytes",
            expected="the rows",
            next_step=_FETCH_LFS,
        )


def utf8(content: bytes, path: Path) -> str:
    """The text without its byte order mark.

    Raises:
        ArtifactError: not UTF-8; the line and the byte are named.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ArtifactError(
            f"{path}: line {line}",
            "not UTF-8",
            got=f"byte 0x{content[error.start]:02x} at offset {error.start}",
            expected="UTF-8",
            next_step="convert the file to UTF-8",
        ) from None


def _json_rows(content: bytes, path: Path) -> list[Row]:
    text = utf8(content, path)
    if text.lstrip().startswith("["):
        found = _json(text, str(path), 1)
        for number, row in enumerate(found, start=1):
            _check_object(row, f"{path}: row {number}")
        return list(found)
    # splitlines() would also cut at U+2028 and others, which JSON allows inside a string.
    lines = text.split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _json(line, str(path), number)
        _check_object(row, f"{path}: line {number}")
        rows.append(row)
    return rows


def _json(text: str, path: str, line: int) -> Any:
    """The value of a text that begins at ``line`` of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line, got = line + error.lineno - 1, f"{error.msg.removesuffix(' at')} at column {error.colno}"
    except RecursionError:
        got = "brackets nested too deeply"
    except ValueError:  # json's own limit on the digits of an integer
        got = "a number of thousands of digits"
    raise ArtifactError(
        f"{path}: line {line}",
        "not valid JSON",
        got=got,
        expected="one object a line, or one array",
        next_step=_FETCH_AGAIN,
    )


def _csv_rows(content: bytes, path: Path) -> list[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), len(content)))  # a text may be longer than its 128 KiB
    reader = csv.DictReader(io.StringIO(utf8(content, path), newline=""), strict=True)
    rows: list[Row] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                columns = len(reader.fieldnames or ())
                raise ArtifactError(
                    f"{path}: line {reader.line_num}",
                    "another number of columns than the header",
                    got=columns + len(row[None]) if None in row else sum(v is not None for v in row.values()),
                    expected=columns,
                    next_step="put a text with commas or line breaks in double quotes",
                )
            rows.append(dict(row))
        return rows
    except csv.Error as error:
        raise ArtifactError(
            f"{path}: line {reader.line_num}",
            "not valid CSV",
            got=str(error),
            expected="RFC 4180: comma-separated, double quotes doubled",
            next_step=_FETCH_AGAIN,
        ) from None


def _parquet_rows(content: bytes, path: Path) -> list[Row]:
    import polars as pl

    if not content.startswith(_PARQUET) or not content.endswith(_PARQUET):
        raise ArtifactError(
            str(path),
            "not a whole Parquet file",
            got=f"{len(content)} bytes",
            expected="PAR1 at both ends",
            next_step=_FETCH_AGAIN,
        )
    try:
        return pl.read_parquet(io.BytesIO(content)).to_dicts()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtifactError(
            str(path),
            "not a readable Parquet file",
            got=str(error)[:200],
            expected="Parquet",
            next_step=_FETCH_AGAIN,
        ) from None


def _check_object(row: object, place: str) -> None:
    if not isinstance(row, dict):
        raise ArtifactError(
            place, "not a JSON object", got=type(row).__name__, expected="{...}", next_step="write one object a row"
        )


def _check_encodable(row: Mapping[str, Any], place: str) -> None:
    for key, value in row.items():
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise ArtifactError(
                    f"{place}: {key}",
                    "holds half of a surrogate pair",
                    got=f"at character {error.start}",
                    expected="text that UTF-8 can hold",
                    next_step="write the character whole, or leave it out",
                ) from None

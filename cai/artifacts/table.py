"""What an artifact is: declared once; written, read, gated and documented from that one declaration."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cai.errors import ArtifactError

ROW_GROUP = 65_536  # fixed, so that the bytes do not depend on the number of threads


@dataclass(frozen=True)
class Column:
    """One column: its dtype, its meaning, whether null is allowed (then with a reason elsewhere in the row)."""

    name: str
    dtype: pl.DataType
    meaning: str
    nullable: bool = False
    values: tuple[str, ...] | None = None


def text(name: str, meaning: str, *, nullable: bool = False, values: Sequence[str] | None = None) -> Column:
    """A column of strings."""
    return Column(name, pl.String(), meaning, nullable, tuple(values) if values else None)


def integer(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """A column of 32-bit integers."""
    return Column(name, pl.Int32(), meaning, nullable)


def number(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """A column of 64-bit floats."""
    return Column(name, pl.Float64(), meaning, nullable)


def flag(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """A column of booleans."""
    return Column(name, pl.Boolean(), meaning, nullable)


def turns(name: str = "turns", meaning: str = "the context up to and including the last human turn") -> Column:
    """A dialogue: a list of {role, text}."""
    return Column(name, pl.List(pl.Struct({"role": pl.String(), "text": pl.String()})), meaning)


GENERATION = (
    text("model", "immutable reference of the model that wrote this row"),
    text("sampling", "digest of the sampling parameters (params.yaml holds them)"),
    text("finish_reason", "how the text ended", values=("stop", "length", "error")),
    integer("prompt_tokens", "length of the request", nullable=True),
    integer("completion_tokens", "length of the reply", nullable=True),
    text("error", "why there is no text", nullable=True),
)
"""The columns that every generated row carries after its own."""


@dataclass(frozen=True)
class Table:
    """One Parquet file of the pipeline, sorted by its key."""

    name: str
    path: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    meaning: str
    stage: str

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column names and dtypes in their order."""
        return {column.name: column.dtype for column in self.columns}

    def of(self, model: str) -> Table:
        """The table of one model, where the path names a ``{model}``."""
        return Table(
            self.name,
            self.path.format(model=model),
            self.key,
            self.columns,
            self.meaning,
            self.stage.format(model=model),
        )

    def frame(self, rows: Sequence[dict[str, object]]) -> pl.DataFrame:
        """The rows as a frame of this table's schema."""
        return pl.DataFrame(list(rows), schema=self.schema, orient="row")

    def violations(self, frame: pl.DataFrame) -> list[str]:
        """Everything in which a frame departs from the declaration, in words; empty when nothing does."""
        found = []
        for name in [name for name in self.schema if name not in frame.columns]:
            found.append(f"column {name} is missing")
        for name in [name for name in frame.columns if name not in self.schema]:
            found.append(f"column {name} is not declared")
        for column in self.columns:
            if column.name not in frame.columns:
                continue
            series = frame.get_column(column.name)
            if series.dtype != column.dtype:
                found.append(f"column {column.name} is {series.dtype}, declared {column.dtype}")
                continue
            if not column.nullable and series.null_count():
                found.append(f"column {column.name} has {series.null_count()} nulls")
            if column.values is not None:
                strange = sorted(set(series.drop_nulls().unique().to_list()) - set(column.values))
                if strange:
                    found.append(f"column {column.name} has values {strange[:5]}, allowed {list(column.values)}")
        if not found and frame.height and frame.select(self.key).is_duplicated().any():
            n = int(frame.select(self.key).is_duplicated().sum())
            found.append(f"{n} rows share a key ({', '.join(self.key)})")
        return found

    def read(self, root: Path) -> pl.DataFrame:
        """The artifact as a frame.

        Raises:
            ArtifactError: the file is missing, cannot be read as Parquet, or is not of its declared shape.
        """
        path = root / self.path
        again = f'rerun "dvc repro {self.stage}"'
        if not path.is_file():
            raise ArtifactError(self.path, "no such artifact", got="nothing", expected="a table", next_step=again)
        try:
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ArtifactError(
                self.path, "not a readable Parquet file", got=str(error)[:200], expected="Parquet", next_step=again
            ) from None
        found = self.violations(frame)
        if found:
            declared = "what data/README.md declares"
            raise ArtifactError(
                self.path, "not of its declared shape", got="; ".join(found), expected=declared, next_step=again
            )
        return frame

    def write(self, frame: pl.DataFrame, root: Path) -> None:
        """Write the frame, sorted by key, whole or not at all.

        Raises:
            ArtifactError: the frame is not of the declared shape, or the disk did not take it.
        """
        if set(frame.columns) == set(self.schema):
            frame = frame.select(list(self.schema))
        found = self.violations(frame)
        if found:
            raise ArtifactError(self.path, "refused to write", got="; ".join(found), expected="the declared columns")
        frame = frame.sort(self.key, maintain_order=True)
        path = root / self.path
        with AtomicFile(path) as temporary:
            frame.write_parquet(temporary, compression="zstd", row_group_size=ROW_GROUP)


class AtomicFile:
    """A temporary name in the target's folder, renamed onto the target when the block ends well.

    Raises:
        ArtifactError: the file system refused (disk full, no permission); nothing is left behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".tmp", dir=self.path.parent)
            os.close(handle)
        except OSError as error:
            raise self._refused(error) from None
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                os.chmod(self.temporary, 0o644)
                os.replace(self.temporary, self.path)
                return
            except OSError as late:
                error = late
        self.temporary.unlink(missing_ok=True)
        if isinstance(error, (OSError, pl.exceptions.PolarsError)):
            raise self._refused(error) from None

    def _refused(self, error: BaseException) -> ArtifactError:
        return ArtifactError(
            self.path.name,
            "could not be written",
            got=str(error)[:200],
            expected="a place with room that may be written",
            next_step="free the disk, then run again",
        )


def write_text(path: Path, content: str) -> None:
    """Write a text file whole or not at all."""
    with AtomicFile(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="\n")


def file_sha256(path: Path) -> str:
    """64 hex digits of the file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

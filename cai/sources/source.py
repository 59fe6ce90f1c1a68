"""What every source gives, what params.yaml says about it, and the two raw frames made of it."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from cai.artifacts.raw import RAW_INSTRUCTIONS, RAW_RED_TEAM
from cai.errors import ArtifactError
from cai.params import Section
from cai.sources.files import Row, content_sha256, read_folder


class HubDataset(Section):
    """A dataset on the hub at one commit, and which of its parts: ``folder/split``, or ``split`` alone."""

    id: str
    revision: str | None
    parts: list[str]


class Place(Section):
    """A file or folder, and a dataset on the hub; a source uses one of them."""

    path: str
    hub: HubDataset


class Source(Place):
    """Where rows come from. ``path`` is used by ``sample`` and ``path``, ``hub`` by ``hub`` alone."""

    source: Literal["sample", "path", "hub"]


class HumanPairs(Place):
    """Where pairs come from that people chose, if any: rows of HH-RLHF with ``chosen`` and ``rejected``."""

    source: Literal["none", "path", "hub"]
    limit: int | None = Field(ge=1)


class Fetch(Source):
    """The ``fetch`` section: the red-team source at its top, the instruction source under ``instructions``."""

    instructions: Source


@dataclass(frozen=True)
class Part:
    """Rows of one file or one split, under the name that stays with them, and the sha256 of what was read."""

    name: str
    rows: list[Row]
    sha256: str


def parts(section: Source | HumanPairs, root: Path) -> list[Part]:
    """What the named source holds, from that source and no other."""
    adapter = importlib.import_module(f"cai.sources.{section.source}")
    found: list[Part] = adapter.parts(section, root)
    return found


def file_parts(section: Place, root: Path) -> list[Part]:
    """One part a file of ``section.path``, named by the file's name: the folders above it are no part of the data.

    The path is absolute or relative to the project; ``~`` is not expanded, because DVC would not do it either.
    """
    path = root / section.path
    inside = path if path.is_dir() else path.parent
    return [Part(name, rows, content_sha256(inside / name)) for name, rows in read_folder(path)]


def red_team_frame(found: Sequence[Part]) -> pl.DataFrame:
    """All rows in the columns of ``data/raw/red_team.parquet``.

    Raises:
        ArtifactError: rows that hold neither ``chosen`` and ``rejected`` nor ``transcript``, or not as text.
    """
    rows: list[dict[str, object]] = []
    for part in found:
        lacking = [n for n, row in enumerate(part.rows, 1) if not _is_red_team(row)]
        if lacking:
            raise _lacks(part, lacking, "chosen and rejected, or transcript, as text")
        for row in part.rows:
            is_comparison = row.get("chosen") is not None
            rows.append(
                {
                    "row": len(rows),
                    "source": part.name,
                    "chosen": row["chosen"] if is_comparison else None,
                    "rejected": row["rejected"] if is_comparison else None,
                    "transcript": None if is_comparison else row["transcript"],
                }
            )
    return RAW_RED_TEAM.frame(rows)


def instruction_frame(found: Sequence[Part]) -> pl.DataFrame:
    """All rows in the columns of ``data/raw/instructions.parquet``; ``input`` may be absent.

    Raises:
        ArtifactError: rows without ``instruction`` and ``output`` as text.
    """
    rows: list[dict[str, object]] = []
    for part in found:
        lacking = [n for n, row in enumerate(part.rows, 1) if not _is_instruction(row)]
        if lacking:
            raise _lacks(part, lacking, "instruction and output (input may be empty), as text")
        for row in part.rows:
            rows.append(
                {
                    "row": len(rows),
                    "instruction": row["instruction"],
                    "input": row.get("input") or "",
                    "output": row["output"],
                }
            )
    return RAW_INSTRUCTIONS.frame(rows)


def sources(found: Sequence[Part]) -> dict[str, Any]:
    """{n, sha256} of all parts together: one part's own sha256, or that of the list of names and digests."""
    digests = "".join(f"{part.name} {part.sha256}\n" for part in found)
    sha256 = found[0].sha256 if len(found) == 1 else hashlib.sha256(digests.encode()).hexdigest()
    return {"n": sum(len(part.rows) for part in found), "sha256": sha256}


def rows_sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    """64 hex digits of the rows as sorted JSON: for rows that did not come out of a file we can hash."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def fetch(section: Fetch, root: Path) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """(red_team frame, instructions frame, {red_team: {n, sha256}, instructions: {n, sha256}})."""
    red_team, helpful = parts(section, root), parts(section.instructions, root)
    return (
        red_team_frame(red_team),
        instruction_frame(helpful),
        {"red_team": sources(red_team), "instructions": sources(helpful)},
    )


def _is_red_team(row: Row) -> bool:
    if row.get("chosen") is not None or row.get("rejected") is not None:
        return isinstance(row.get("chosen"), str) and isinstance(row.get("rejected"), str)
    return isinstance(row.get("transcript"), str)


def _is_instruction(row: Row) -> bool:
    texts = isinstance(row.get("instruction"), str) and isinstance(row.get("output"), str)
    return texts and isinstance(row.get("input") or "", str)


def _lacks(part: Part, lacking: Sequence[int], expected: str) -> ArtifactError:
    row = part.rows[lacking[0] - 1]
    keys = [f"{key} ({type(row[key]).__name__})" for key in sorted(map(str, row)) if key in row]
    return ArtifactError(
        f"{part.name}: row {lacking[0]}",
        f"{len(lacking)} of {len(part.rows)} rows are not of the expected shape",
        got=f"keys {', '.join(keys[:8]) or 'none'}",
        expected=expected,
        next_step="point fetch at the right file, or rename the columns",
    )

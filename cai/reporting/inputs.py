"""The border of the report: what it reads, and one clear sentence for what is not there.

A file that is missing is a fact that the page states; a file that is broken raises, as everywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from cai.artifacts.table import Table
from cai.errors import ArtifactError

MODELS = ("base", "instruct", "sft", "dpo")
HELDOUT = "heldout"
"""Prompts of the training distribution that nobody trained on: where collapse is asked for."""


def laid_open(content: Mapping[str, Any]) -> dict[str, Any]:
    """A metrics file with its ``detail`` list, which keeps what is no number out of `dvc metrics diff`, laid open.

    >>> laid_open({"n": 3, "detail": [{"reasons": ["few"]}]})
    {'reasons': ['few'], 'n': 3}
    """
    merged: dict[str, Any] = {}
    for part in content.get("detail") or ():
        if isinstance(part, Mapping):
            merged |= part
    return {**merged, **{key: value for key, value in content.items() if key != "detail"}}


class Inputs:
    """Artifacts and metrics under one project root, each read at most once; ``missing`` lists what is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.missing: list[str] = []
        self._kept: dict[str, Any] = {}

    def json(self, path: str, stage: str) -> dict[str, Any] | None:
        """The object in a JSON file, or None where there is no such file.

        Raises:
            ArtifactError: the file is not a JSON object.
        """
        file = self._file(path, stage)
        if file is None:
            return None
        if path not in self._kept:
            again = f'rerun "dvc repro {stage}"'
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ArtifactError(path, "not valid JSON", got=str(error)[:200], next_step=again) from None
            if not isinstance(content, dict):
                raise ArtifactError(path, "not a JSON object", got=type(content).__name__, next_step=again)
            self._kept[path] = content
        found: dict[str, Any] = self._kept[path]
        return found

    def csv(self, path: str, stage: str) -> pl.DataFrame | None:
        """A CSV file with a header as a frame of strings, or None where there is no such file.

        Raises:
            ArtifactError: the file cannot be read as CSV.
        """
        file = self._file(path, stage)
        if file is None:
            return None
        if path not in self._kept:
            try:
                self._kept[path] = pl.read_csv(file, infer_schema=False)
            except (pl.exceptions.PolarsError, OSError) as error:
                again = f'rerun "dvc repro {stage}"'
                raise ArtifactError(path, "not a readable CSV", got=str(error)[:200], next_step=again) from None
        found: pl.DataFrame = self._kept[path]
        return found

    def text(self, path: str, stage: str) -> str | None:
        """A text file, or None where there is no such file."""
        file = self._file(path, stage)
        return None if file is None else file.read_text(encoding="utf-8")

    def table(self, table: Table) -> pl.DataFrame | None:
        """An artifact as a frame of its declared shape, or None where there is no such file.

        Raises:
            ArtifactError: the artifact is broken.
        """
        if self._file(table.path, table.stage) is None:
            return None
        if table.path not in self._kept:
            self._kept[table.path] = table.read(self.root)
        found: pl.DataFrame = self._kept[table.path]
        return found

    def why(self, path: str, stage: str) -> str:
        """The sentence that stands where the content of a missing file would.

        >>> Inputs(Path(".")).why("metrics/clean.json", "clean")
        'metrics/clean.json is not there; "dvc repro clean" makes it'
        """
        return f'{path} is not there; "dvc repro {stage}" makes it'

    def _file(self, path: str, stage: str) -> Path | None:
        file = self.root / path
        if file.is_file():
            return file
        sentence = self.why(path, stage)
        if sentence not in self.missing:
            self.missing.append(sentence)
        return None

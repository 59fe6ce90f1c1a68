"""The rows that the project ships, written for it: they prove the path, not the method."""

from __future__ import annotations

from pathlib import Path

from cai.errors import ParamsError
from cai.sources.source import Part, Source, file_parts

FOLDER = "data/sample"


def parts(section: Source, root: Path) -> list[Part]:
    """The one part that ``section.path`` names inside data/sample.

    Raises:
        ParamsError: the path leads elsewhere; a file of one's own is ``source: path``, never taken for the sample.
    """
    if (root / section.path).resolve().parent != (root / FOLDER).resolve():
        raise ParamsError(
            "params.yaml: fetch",
            "source is sample, but path leads elsewhere",
            got=section.path,
            expected=f"a file in {FOLDER}",
            next_step="set the source beside it to path",
        )
    return file_parts(section, root)

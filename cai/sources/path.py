"""Rows out of a file, or out of the data files of a folder, that the user names."""

from __future__ import annotations

from pathlib import Path

from cai.sources.files import content_sha256, read_folder
from cai.sources.source import Part, Source


def parts(section: Source, root: Path) -> list[Part]:
    """One part a file, named by the file's name: the folders above it are no part of the data.

    ``section.path`` is absolute or relative to the project; ``~`` is not expanded, because DVC would not do it either.
    """
    path = root / section.path
    found = read_folder(path)
    inside = path if path.is_dir() else path.parent
    return [Part(name, rows, content_sha256(inside / name)) for name, rows in found]

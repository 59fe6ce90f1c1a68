"""Rows out of a file, or out of the data files of a folder, that the user names."""

from __future__ import annotations

from pathlib import Path

from cai.sources.source import Part, Place, file_parts


def parts(section: Place, root: Path) -> list[Part]:
    """One part a file.

    Raises:
        ArtifactError: missing, broken, or not rows; see `cai.sources.files.read_rows`.
    """
    return file_parts(section, root)

"""No rows."""

from __future__ import annotations

from pathlib import Path

from cai.sources.source import Part, Place


def parts(section: Place, root: Path) -> list[Part]:
    """Nothing, from nowhere."""
    return []

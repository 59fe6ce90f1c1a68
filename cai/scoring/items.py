"""Benchmark questions as read, and where they came from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cai.errors import ArtifactError


@dataclass(frozen=True)
class Item:
    """One evaluation question: the user's turns, and what the benchmark says about it."""

    set: str
    item_id: str
    category: str | None
    turns: tuple[str, ...]
    temperature: float | None = None
    reference: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Benchmark:
    """The questions of one benchmark with the sha256 of each file they came from, and what was left out and why."""

    name: str
    items: tuple[Item, ...]
    sha256: Mapping[str, str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """How many questions there are."""
        return len(self.items)

    def manifest(self) -> dict[str, Any]:
        """What a metrics file says about the set: never a text."""
        return {
            "n": self.n,
            "sha256": dict(self.sha256),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }


def read_bytes(path: Path, expected: str) -> tuple[str, str]:
    """(text, sha256) of a UTF-8 file.

    Raises:
        ArtifactError: missing, unreadable, empty, an LFS pointer or not UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(str(path), "no such file", expected=expected) from None
    except OSError as error:
        raise ArtifactError(str(path), "cannot be read", got=error.strerror, expected=expected) from None
    if data.startswith(b"version https://git-lfs.github.com/spec/"):
        raise ArtifactError(
            str(path), "is a Git LFS pointer, not the file", expected=expected, next_step="git lfs pull"
        )
    if not data.strip():
        raise ArtifactError(str(path), "is empty", expected=expected)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(str(path), "is not UTF-8", got=f"byte {error.start}", expected=expected) from None
    return text, hashlib.sha256(data).hexdigest()


def read_prompts(path: Path, name: str) -> Benchmark:
    """Questions of one's own: JSON lines with id and prompt, category if wanted.

    Raises:
        ArtifactError: a line that is not such a row, or a duplicate id.
    """
    text, sha = read_bytes(path, "JSON lines with id and prompt")
    items = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ArtifactError(f"{path}:{number}", "is not JSON", got=error.msg) from None
        if not isinstance(row, dict) or not str(row.get("prompt") or "").strip() or "id" not in row:
            raise ArtifactError(f"{path}:{number}", "lacks id or prompt", expected="id, prompt[, category]")
        items.append(Item(name, str(row["id"]), row.get("category"), (str(row["prompt"]).strip(),)))
    kept, left_out = without_duplicates(items, str(path))
    return Benchmark(name, kept, {path.name: sha}, left_out)


def without_duplicates(items: Iterable[Item], place: str) -> tuple[tuple[Item, ...], dict[str, int]]:
    """The items with each text once, and {"duplicate_text": n} where some were left out.

    Raises:
        ArtifactError: two items have one id.
    """
    kept: list[Item] = []
    texts: set[tuple[str, ...]] = set()
    ids: Counter[str] = Counter()
    lost = 0
    for item in items:
        ids[item.item_id] += 1
        if item.turns in texts:
            lost += 1
            continue
        texts.add(item.turns)
        kept.append(item)
    twice = sorted(name for name, times in ids.items() if times > 1)
    if twice:
        raise ArtifactError(place, "duplicate ids", got=", ".join(twice[:5]), expected="each id once")
    return tuple(kept), {"duplicate_text": lost} if lost else {}


def fixed_order(names: Sequence[str]) -> list[int]:
    """Places of the names in the order of their sha256: the first k are a fixed subset that nobody chose."""
    return sorted(range(len(names)), key=lambda place: hashlib.sha256(names[place].encode()).digest())

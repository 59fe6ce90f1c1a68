"""Items, table rows and lines that loop."""

from __future__ import annotations

import re

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View
from cai.text.regions import ITEM
from cai.text.sentences import key, size

ID = "line_loops"
REASON = "steps and rows may repeat, but a list that goes round in circles is a loop with numbers in front"

RUN = 4
ROUNDS = 3
TABLE_RUN = 8
"""Rows of a table may hold the same values."""
LONG_ITEM = 6
ADJACENT = 9
"""An item of so many words right after itself is no step to be done twice."""
_EQUATION = re.compile(r"[\w)\]}] ?(?:=|≠|≤|≥|<|>|≈|\\leq?|\\geq?) ?[\w(\\{-]")
_KINDS = frozenset({"list", "table"})


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of the later rounds where one item stands four times in a row, or long items go round three times."""
    text = view.text
    found_lines = [region for region in view.regions if region.kind in _KINDS]
    lines = [(region.start, region.end) for region in found_lines]
    if len(lines) < RUN:
        return []
    keys = [_bare(text[start:end]) for start, end in lines]
    if len(set(keys)) == len(keys):
        return []
    removed: set[int] = set()
    for period in range(1, len(keys) // 2 + 1):
        start = 0
        while start + period < len(keys):
            length = 0
            while start + period + length < len(keys) and keys[start + length] == keys[start + period + length]:
                length += 1
            sizes = [size(found) for found in keys[start : start + period]]
            long = sum(sizes) / period >= LONG_ITEM
            run = TABLE_RUN if found_lines[start].kind == "table" else RUN
            rounds = length // period + 1
            if any(sizes) and (
                (period == 1 and (rounds >= run or (long and rounds >= ROUNDS) or sizes[0] >= ADJACENT))
                or (period > 1 and long and (rounds >= ROUNDS or (rounds >= 2 and length >= 3)))
            ):
                removed.update(range(start + period, start + period + length))
            start += length + 1 if length else 1
        if removed:
            break
    if not removed:
        seen: dict[str, int] = {}
        repeats = []
        for place, found in enumerate(keys):
            if size(found) < LONG_ITEM or _EQUATION.search(text, *lines[place]):
                continue  # an equation is restated where it is needed again
            if found in seen:
                repeats.append(place)
            seen.setdefault(found, place)
        if len(repeats) >= 3:
            removed.update(repeats)
    return [_line(text, *lines[place]) for place in sorted(removed)]


def _bare(line: str) -> str:
    marker = ITEM.match(line)
    said = line[marker.end() :] if marker else line
    # "x + 5" and "x - 5" have the same words
    return key(said) if _EQUATION.search(said) is None else said.strip().casefold()


def _line(text: str, start: int, end: int) -> Cut:
    """The line with one of its line breaks."""
    if start and text[start - 1] == "\n":
        return Cut(start - 1, end)
    return Cut(start, min(end + 1, len(text)))

"""Items, table rows and lines that loop."""

from __future__ import annotations

import re

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View
from cai.text.regions import ITEM, Region
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
BULLETS, STEPS = 5, 8
"""Rounds of two or three short items."""
_BULLETS = frozenset("-*+•‣◦▪●○–—·")
_BLOCK = re.compile(
    r"^[ \t]*(```+|~~~+)[^\n]*\n(?:.*?\n)?[ \t]*\1[ \t]*$|^[ \t]*\S[^\n]*(?:\n(?![ \t]*(?:```|~~~|\n))[^\n]+)*",
    re.M | re.S,
)
_KINDS = frozenset({"list", "table"})


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of the later rounds where one item stands four times in a row, or long items go round three times."""
    text = view.text
    if text.count("```") + text.count("~~~") >= 2 * ROUNDS and (block := _block_loop(text)):
        return [block]
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
                or (period in (2, 3) and rounds >= (BULLETS if _bulleted(text, *lines[start]) else STEPS))
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
    if not removed:
        return []
    last = len(lines) - 1
    if last - 1 in removed and keys[last] and lines[last][1] >= len(text.rstrip()):
        removed.update({last} if any(keys[place].startswith(keys[last]) for place in removed) else ())  # begun again
    gone = {lines[place] for place in removed}
    headings = _bared(view, gone)
    return sorted([*(_line(text, *line) for line in gone), *(Cut(len(text[:a].rstrip()), b) for a, b in headings)])


def _bared(view: View, gone: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The headings said before that lead to nothing but items that go."""
    found: list[tuple[int, int]] = []
    said: set[str] = set()
    heading, stays = (0, 0), True
    for region in [*view.regions, Region(len(view.text), len(view.text), "label")]:
        line = (region.start, region.end)
        if region.kind in _KINDS:
            stays = stays or line not in gone
        elif region.kind == "label":
            name = key(view.text[slice(*heading)])
            first = heading[1] + len(view.text[heading[1] :]) - len(view.text[heading[1] :].lstrip("\n"))
            if name in said and not stays and any(start == first for start, _ in gone):
                found.append(heading)
            said.add(name)
            heading, stays = line, False
    return found


def _bulleted(text: str, start: int, end: int) -> bool:
    """Whether an item has no number and speaks of none: what may come in turns is counted ("- Run 1 minute")."""
    return text[start:end].lstrip()[:1] in _BULLETS and not any(map(str.isdigit, text[start:end]))


def _block_loop(text: str) -> Cut | None:
    """The cut of the later rounds of paragraphs with fenced code that come three times, one round behind the other."""
    pieces = [match.span() for match in _BLOCK.finditer(text)]
    keys = [text[start:end].strip() for start, end in pieces]
    for period in range(1, len(keys) // ROUNDS + 1):
        for start in range(len(keys) - ROUNDS * period + 1):
            length = 0
            while start + period + length < len(keys) and keys[start + length] == keys[start + period + length]:
                length += 1
            unit = keys[start : start + period]
            if length < (ROUNDS - 1) * period or not any(key.startswith(("```", "~~~")) for key in unit):
                continue
            last = start + period + length
            if last == len(keys) - 1 and keys[last - period].startswith(keys[last]):
                last += 1  # a round that was cut off
            elif last < len(keys):
                last = start + period * (length // period + 1)
            return Cut(pieces[start + period - 1][1], pieces[last - 1][1])
    return None


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

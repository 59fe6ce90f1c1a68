"""Tails that repeat character by character."""

from __future__ import annotations

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View
from cai.text.regions import touches

ID = "periodic_tail"
REASON = "a text that ends in the same characters over and over did not end, it stuck"

WINDOW = 1200
RULED = 20
_NEVER = frozenset({"code", "table", "verse"})


def find(view: View, row: Row) -> list[Cut]:
    """The cut that leaves one round of an exactly periodic end; rules, dot leaders and short emphasis stay."""
    text = view.text.rstrip()
    found = period_of_tail(text[-WINDOW:])
    if found is None:
        return []
    period, length = found
    start = len(text) - length
    # Where it begins within a word ("Christe eleison. Kyrie eleison."), the last round is the whole one.
    if start and text[start - 1].isalnum() and text[start].isalnum():
        start += length % period
    if touches(view.regions, start, len(text), _NEVER):
        return []
    if any(region.kind == "list" and not region.start <= start and region.end > start for region in view.regions):
        return []  # several items: `line_loops` judges them
    unit = text[start : start + period]
    if text[:start].strip() and not any(map(str.isalnum, unit)) and unit != unit.strip():
        return [Cut(len(text[:start].rstrip()), len(view.text))]  # one dash of many says nothing either
    return [Cut(start + period, len(text))]


def period_of_tail(text: str) -> tuple[int, int] | None:
    """(period, length) of the longest suffix that repeats with the shortest period; None where it is no loop.

    >>> period_of_tail("well " + "no way " * 6)
    (7, 43)
    """
    if len(text) < 12 or text.rfind(text[-6:], 0, len(text) - 1) < 0:
        return None
    flipped = text[::-1]
    near = flipped.find(flipped[:6], 1)
    while 0 < near <= len(text) // 3:
        length = near
        while length < len(text) and flipped[length] == flipped[length - near]:
            length += 1
        if length >= 3 * near:
            unit = flipped[:near]
            if any(sign.isalpha() for sign in unit):
                rounds = length // near
                if (
                    (near >= 12 and (rounds >= 4 or len(unit.split()) > 2))
                    or (rounds >= 4 and near >= 6)
                    or (rounds >= 6 and near >= 3)
                    or rounds >= 12
                ):
                    return near, length
            elif length >= RULED * near and len(unit.split()) == 1 and len(unit) > len(unit.strip()):
                return near, length  # "- - - - -": a rule on the page is shorter
            elif (length >= 24 and len(set(unit.split())) >= 1 and len(set(unit) - set(" \n\t")) >= 2) or (
                length >= 12 and unit.strip() and unit[0] in "!?！？.。…" and "\n" not in unit
            ):
                return near, length
            return None
        near = flipped.find(flipped[:6], near + 1)
    return None

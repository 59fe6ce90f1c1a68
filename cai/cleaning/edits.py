"""The edit log: what was removed where, exact in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    step: int
    """place in the order of application"""
    rule: str
    start: int
    """first character, in the text as this step saw it"""
    end: int
    removed: str
    inserted: str


class Cut(NamedTuple):
    """What a rule wants removed from the text it saw, and what shall stand there instead."""

    start: int
    end: int
    inserted: str = ""


def apply(edits: Iterable[Edit], original: str) -> str:
    """The kept text: every edit applied in order.

    Raises ValueError where the text does not hold what an edit removed.

    >>> apply([Edit(0, "repeated_sentences", 3, 7, " Hi.", "")], "Hi. Hi.")
    'Hi.'
    """
    text = original
    for edit in edits:
        if text[edit.start : edit.end] != edit.removed:
            raise ValueError(f"step {edit.step} ({edit.rule}): the text differs at {edit.start}:{edit.end}")
        text = text[: edit.start] + edit.inserted + text[edit.end :]
    return text


def undo(edits: Sequence[Edit], kept: str) -> str:
    """The original text: every edit taken back, last first.

    Raises ValueError where the text does not hold what an edit inserted.

    >>> undo([Edit(0, "repeated_sentences", 3, 7, " Hi.", "")], "Hi.")
    'Hi. Hi.'
    """
    text = kept
    for edit in reversed(edits):
        end = edit.start + len(edit.inserted)
        if text[edit.start : end] != edit.inserted:
            raise ValueError(f"step {edit.step} ({edit.rule}): the text differs at {edit.start}:{end}")
        text = text[: edit.start] + edit.removed + text[end:]
    return text


def perform(cuts: Iterable[Cut], text: str, rule: str, step: int) -> tuple[str, list[Edit]]:
    """The text without the cuts, and one edit a cut, from the right so that each place is right as its step saw it.

    Overlapping cuts are joined (their inserted texts too); cuts that change nothing are left out.
    """
    joined: list[Cut] = []
    for cut in sorted(cuts):
        if joined and cut.start < joined[-1].end:
            last = joined[-1]
            joined[-1] = Cut(last.start, max(last.end, cut.end), last.inserted + cut.inserted)
        elif text[cut.start : cut.end] != cut.inserted:
            joined.append(cut)
    made: list[Edit] = []
    pieces: list[str] = []
    behind = len(text)
    for cut in reversed(joined):
        made.append(Edit(step + len(made), rule, cut.start, cut.end, text[cut.start : cut.end], cut.inserted))
        pieces += (text[cut.end : behind], cut.inserted)
        behind = cut.start
    pieces.append(text[:behind])
    return "".join(reversed(pieces)), made

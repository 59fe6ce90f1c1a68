"""Revisions that copy what they should revise."""

from __future__ import annotations

from collections import Counter
from difflib import SequenceMatcher

from cai.cleaning.view import Drop, Row, View
from cai.text.sentences import words

ID = "copies"
REASON = "a copy of the response was not revised, and a copy of the critique answers nobody"

ALIKE = 0.93
SHORT = 20
"""A short answer, above all a short refusal, may rightly stay as it is."""


def find(view: View, row: Row) -> list[Drop]:
    """A drop where the words follow those of the response or the critique."""
    if row.response is None and row.critique is None:
        return []
    own = [word for sentence in view.words for word in sentence]
    for name, other in (("critique", row.critique), ("response", row.response)):
        if other and _copied(own, words(other)) and (name == "critique" or len(own) > SHORT):
            return [Drop(f"copies_{name}")]
    return []


def _copied(own: list[str], other: list[str]) -> bool:
    total = len(own) + len(other)
    if not own or min(len(own), len(other)) * 2 < ALIKE * total:
        return False
    if own == other:
        return True
    shared = sum((Counter(own) & Counter(other)).values())
    if shared * 2 < ALIKE * total:
        return False
    return SequenceMatcher(None, own, other, autojunk=False).ratio() >= ALIKE

"""Rows that say some six words twice: good to read, yet what they teach is to loop. For training data alone."""

from __future__ import annotations

from cai.cleaning.view import Drop, Row, View

ID = "repeated_phrases"
REASON = "a phrase said twice teaches to repeat even where no sentence is, and to cut it out would change what is said"

LENGTH = 6
"""Words. Without such rows half as many of a trained model's answers degenerate (EXPERIMENTS.md, 2026-11-26)."""


def find(view: View, row: Row) -> list[Drop]:
    """A drop of a text in which some six words in a row stand twice, be it in verse, a list or code."""
    said = view.flat
    seen: set[tuple[str, ...]] = set()
    for start in range(len(said) - LENGTH + 1):
        phrase = tuple(said[start : start + LENGTH])
        if phrase in seen:
            return [Drop("repeated_phrase")]
        seen.add(phrase)
    return []

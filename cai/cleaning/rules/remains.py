"""Rows of which next to nothing is left, and rows that still loop."""

from __future__ import annotations

from collections import Counter

from cai.cleaning.view import Drop, Row, View
from cai.text.flags import max_sentence_count_outside_protected
from cai.text.sentences import key, size

ID = "remains"
REASON = "a stub teaches stubs, and what no rule could untangle must not be trained on"

FEWEST = 3
CROWDED = 0.5
TAIL = 8
TAIL_SHARE = 0.25


def find(view: View, row: Row) -> list[Drop]:
    """A drop of an empty row, of a stub that a longer text was cut to, and of a text that still repeats itself."""
    n_words = view.n_words
    if not n_words and (view.text != row.text or not view.text.strip()):
        return [Drop("empty")]
    if (
        n_words < FEWEST
        and view.text.strip() != row.text.strip()
        and size(key(row.text)) >= 4 * FEWEST
        and not view.text.rstrip().endswith((".", "!", "?", "。", "！", "？"))
    ):
        return [Drop("stub")]
    if len(set(view.keys)) < len(view.keys) and max_sentence_count_outside_protected(view.text) >= 3:
        return [Drop("still_repeats")]
    if n_words >= 40 and "```" not in view.text:
        flat = [word for sentence in view.words for word in sentence]
        grams = Counter(zip(flat, flat[1:], flat[2:], flat[3:], strict=False))
        if len(grams) and 1 - len(grams) / sum(grams.values()) > CROWDED:
            return [Drop("still_repeats")]
    return []

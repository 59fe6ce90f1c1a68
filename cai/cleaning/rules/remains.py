"""Rows of which next to nothing is left, and rows that still loop."""

from __future__ import annotations

from cai.cleaning.view import Drop, Row, View
from cai.text.flags import max_sentence_count_outside_protected
from cai.text.regions import protects
from cai.text.sentences import key, size

ID = "remains"
REASON = "a stub teaches stubs, and what no rule could untangle must not be trained on"

_MEANT = frozenset({"verse", "table", "code"})
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
    if n_words >= 40 and view.n_grams_again and "```" not in view.text:
        flat = [
            word
            for (start, end), sentence in zip(view.spans, view.words, strict=True)
            if not protects(view.regions, start, end, _MEANT)
            for word in sentence
        ]
        n_grams = len(flat) - 3
        if n_grams > 0 and 1 - len(set(zip(flat, flat[1:], flat[2:], flat[3:], strict=False))) / n_grams > CROWDED:
            return [Drop("still_repeats")]
    return []

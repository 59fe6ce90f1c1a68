"""Sentences that were said before."""

from __future__ import annotations

from collections import Counter

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View

ID = "repeated_sentences"
REASON = "self-training multiplies repeated sentences; editing them away is what cures (DESIGN, section 3)"

TAIL = 8
TAIL_SHARE = 0.2
SHORT_TEXT = 12


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of every later saying of a sentence: always from five words on, below that only in a loop."""
    keys = view.keys
    if len(keys) < 2 or len(set(keys)) == len(keys):
        return []
    free, sizes = view.free, view.sizes
    counts = Counter(key for key, open_ in zip(keys, free, strict=True) if open_ and key)
    if not counts or max(counts.values()) < 2:
        return []
    crowded = _crowded_tail(keys, free, sizes)
    n_words = view.n_words
    removed: set[int] = set()
    seen: dict[str, int] = {}
    run = 0
    for place, key in enumerate(keys):
        if not free[place] or not key:
            continue
        run = run + 1 if place and keys[place - 1] == key else 1
        if key not in seen:
            seen[key] = place
            continue
        size = sizes[place]
        if size >= 5:
            # a short refusal may say it twice
            if counts[key] == 2 and n_words <= SHORT_TEXT + size and n_words <= 24 and place - seen[key] > 1:
                continue
            removed.add(place)
        elif size >= 3:
            if counts[key] >= 3 or (place in crowded and (place - seen[key] <= 4 or place >= len(keys) - 3)):
                removed.add(place)
        elif (run >= 3 or (counts[key] >= 3 and run >= 2 and _runs_to_three(keys, place))) and (
            n_words > SHORT_TEXT or counts[key] > 3
        ):
            removed.add(place)
    if removed:
        _between_removed(keys, sizes, free, seen, removed)
    return view.without(removed)


def _runs_to_three(keys: list[str], place: int) -> bool:
    first = place
    while first and keys[first - 1] == keys[place]:
        first -= 1
    last = place
    while last + 1 < len(keys) and keys[last + 1] == keys[place]:
        last += 1
    return last - first >= 2


def _crowded_tail(keys: list[str], free: list[bool], sizes: list[int]) -> set[int]:
    """The last sentences, where more of them are repeats than an answer has by chance."""
    tail = [place for place in range(len(keys)) if sizes[place] >= 3][-TAIL:]
    if not tail or 1 - len({keys[place] for place in tail}) / len(tail) < TAIL_SHARE:
        return set()
    return {place for place in tail if free[place]}


def _between_removed(
    keys: list[str], sizes: list[int], free: list[bool], seen: dict[str, int], removed: set[int]
) -> None:
    """A short repeated sentence between removed ones ("Thanks!") goes with its block."""
    changed = True
    while changed:
        changed = False
        for place, key in enumerate(keys):
            if place in removed or not free[place] or not key or sizes[place] >= 5 or seen.get(key, place) >= place:
                continue
            if place - 1 in removed and (place + 1 in removed or place + 1 == len(keys)):
                removed.add(place)
                changed = True

"""Sentences that were said before."""

from __future__ import annotations

import re
from collections import Counter

from cai.cleaning.edits import Cut
from cai.cleaning.rules.closings import is_closing
from cai.cleaning.rules.near_repeats import variants
from cai.cleaning.view import Row, View

ID = "repeated_sentences"
REASON = "self-training multiplies repeated sentences; editing them away is what cures (DESIGN, section 3)"

TAIL = 8
TAIL_SHARE = 0.2
_SUM = re.compile(r"(?<=[\w)\]} ])[-+*/^=<>≤≥≠≈±×÷−](?=[\w(\[{ ])")
SHORT_TEXT = 12
EMPHATIC = 3
"""A word or two may be said three times in a row: "No! No! No!"."""
CALLED = 6
_NUMBERS = frozenset(
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
)
_NOTED = re.compile(r"\b[A-Za-z]{1,3}\d{1,3}\b")
_CLAIM = re.compile(r"[=<>≤≥≠≈]")


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
        if counts[key] == 2 and (
            (size >= 3 and _called(view, seen[key], place))
            or _counts(view, place)
            or _concludes(view, seen[key], place)
            or (place - seen[key] > 1 and (_told(view, place) or _tells_on(view, seen[key], place)))
        ):
            continue
        if _other_sum(view, seen[key], place):
            continue
        if size >= 5:
            # a short refusal may say it twice
            if counts[key] == 2 and n_words <= SHORT_TEXT + size and n_words <= 24 and place - seen[key] > 1:
                continue
            removed.add(place)
        elif size >= 3:
            if counts[key] >= 3 or (place in crowded and (place - seen[key] <= 4 or place >= len(keys) - 3)):
                removed.add(place)
        elif counts[key] > EMPHATIC and run >= 2 and _run_length(keys, place) > EMPHATIC:
            removed.add(place)
    if removed:
        removed |= variants(view, {place for place in removed if sizes[place] >= 5})
        _between_removed(keys, sizes, free, seen, removed)
    return view.without(removed)


def _run_length(keys: list[str], place: int) -> int:
    first = place
    while first and keys[first - 1] == keys[place]:
        first -= 1
    last = place
    while last + 1 < len(keys) and keys[last + 1] == keys[place]:
        last += 1
    return last - first + 1


def _called(view: View, first: int, second: int) -> bool:
    """Whether a sentence said twice is called out: all from the one to the other is short, ends in "!" or "?" as in a
    chant or a song, and is no farewell.
    """
    if view.sizes[first] > CALLED:
        return False
    between = range(first, second + 1)
    return all(
        size <= CALLED and view.text[view.spans[place][1] - 1] in "!?！？؟" and not is_closing(view.words[place])
        for place, size in ((place, view.sizes[place]) for place in between)
    )


def _counts(view: View, place: int) -> bool:
    """Whether a sentence does little but count ("Hold: one, two, three, four."): a step that is taken again."""
    words = view.words[place]
    if len(_NOTED.findall(view.text[slice(*view.spans[place])])) >= 2:  # "K2, P2, repeat to the end."
        return True
    numbers = sum(word in _NUMBERS or word.isdigit() for word in words)
    return numbers >= 3 and len(words) - numbers < 3


def _told(view: View, place: int) -> bool:
    """Whether a sentence tells what someone said ('"Not yet," said his father.'), as a tale may do again."""
    start, end = view.spans[place]
    return any(region.kind == "quote" and region.start == start and region.end < end for region in view.regions)


def _tells_on(view: View, first: int, second: int) -> bool:
    """Whether both sayings go on behind the same telling, as a tale does again."""
    return first > 0 and view.keys[first - 1] == view.keys[second - 1] and _told(view, second - 1)


def _concludes(view: View, first: int, second: int) -> bool:
    """Whether both sayings follow a claim in signs, each another one ("Then x + 1 > 1. So it holds."): two proofs."""
    if not first:
        return False
    one, other = (view.text[slice(*view.spans[place - 1])] for place in (first, second))
    return one != other and _CLAIM.search(one) is not None and _CLAIM.search(other) is not None


def _other_sum(view: View, first: int, second: int) -> bool:
    """Whether two sentences of the same words and numbers reckon differently: "x + 1 > 1", "x + 1 = 1"."""
    one, other = (view.text[slice(*view.spans[place])] for place in (first, second))
    return _SUM.findall(one) != _SUM.findall(other)


def _crowded_tail(keys: list[str], free: list[bool], sizes: list[int]) -> set[int]:
    """The last sentences, where more of them are repeats than an answer has by chance."""
    tail = [place for place in range(len(keys)) if sizes[place] >= 3][-TAIL:]
    again = len(tail) - len({keys[place] for place in tail})
    if again < 2 or again / len(tail) < TAIL_SHARE:
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

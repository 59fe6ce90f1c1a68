"""Last sentences that the token budget cut off."""

from __future__ import annotations

import regex

from cai.cleaning.edits import Cut
from cai.cleaning.view import Drop, Row, View
from cai.text.emoji import CLUSTER
from cai.text.regions import ITEM

ID = "cut_tail"
REASON = "a model trained on cut texts learns not to stop"

BEGUN, BEGUN_WORDS, BEGUN_WITHIN = 6, 4, 8
"""Characters; words, where it stands on a line of its own, as a name or a greeting would; sentences back."""
LONG_TEXT = 150
"""Shorter human answers often break off; without a finish reason nothing tells them from a spent budget."""
_STOPS = tuple(".!?…‼⁇⁈⁉؟۔।॥。！？｡:：")
_CLOSERS = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000\"'”’»›)]}*_~`」』）】》〉>|"
_CLOSING_TAG = regex.compile(r"</\w+>\Z")
_FACE_END = regex.compile(rf"(?:{CLUSTER.pattern})\s*\Z", flags=CLUSTER.flags)
_DANGLING = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "and",
        "or",
        "but",
        "nor",
        "for",
        "with",
        "without",
        "in",
        "on",
        "at",
        "by",
        "from",
        "into",
        "onto",
        "about",
        "as",
        "than",
        "that",
        "which",
        "who",
        "whose",
        "if",
        "when",
        "while",
        "because",
        "since",
        "although",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "has",
        "have",
        "had",
        "do",
        "does",
        "did",
        "can",
        "could",
        "will",
        "would",
        "shall",
        "should",
        "may",
        "might",
        "must",
        "not",
        "very",
        "so",
        "their",
        "your",
        "my",
        "our",
        "his",
        "its",
        "this",
        "these",
        "those",
        "such",
        "also",
        "it's",
        "i'm",
        "you're",
        "they're",
        "we're",
        "i've",
        "you've",
        "there's",
        "don't",
        "can't",
        "et",
        "de",
        "la",
        "le",
        "les",
        "des",
        "und",
        "der",
        "die",
        "das",
        "mit",
        "von",
        "zu",
        "y",
        "el",
        "los",
        "las",
        "del",
        "con",
        "que",
        "и",
        "в",
        "на",
        "с",
        "что",
    ]
)


def find(view: View, row: Row) -> list[Cut | Drop]:
    """The cut of an unfinished last sentence or item, with the lead-in that it leaves hanging; a drop where no whole
    sentence would be left. Without "length" as the finish reason only an end on a comma or a function word counts.
    """
    text = view.text.rstrip()
    if not text or (row.finish_reason != "length" and row.finish_reason not in (None, "stop")):
        return []
    places = view.spans
    if row.finish_reason != "stop" and _begins_again(view, text):
        return list(view.without({len(places) - 1}))
    if not places or (_closed(text) and not _hangs(view, len(places) - 1)) or _FACE_END.search(text[-24:]):
        return []
    budget = row.finish_reason == "length"
    last = len(places) - 1
    if any(region.kind == "code" and region.end >= len(text) for region in view.regions):
        return []
    if not budget and (row.finish_reason == "stop" or not _dangles(view, last) or last < 2 or view.n_words < LONG_TEXT):
        return []
    lines = [region for region in view.regions if region.kind in ("list", "table", "verse")]
    inside = next(
        (region for region in lines if region.end >= places[last][1] and region.start <= places[last][0]), None
    )
    if inside is not None and not _dangles(view, last):
        if inside.kind == "verse":
            return []
        before = [region for region in lines if region.kind == inside.kind and region.end < inside.start]
        if before and not _closed(text[before[-1].start : before[-1].end].rstrip()) and len(before) >= 1:
            return []
    removed = {last}
    while last - 1 not in removed and last > 0:
        start = places[last][0]
        line_start = text.rfind("\n", 0, start) + 1
        marker = ITEM.match(text[line_start:start])
        if (
            marker is not None
            and text[line_start:start].strip()
            and places[last - 1][0] >= line_start
            and _only_marker(text[places[last - 1][0] : places[last - 1][1]])
        ):
            last -= 1
            removed.add(last)
            continue
        break
    while last > 0 and _hangs(view, last - 1):
        last -= 1
        removed.add(last)
    if len(removed) == len(places):
        return [Drop("cut_tail")] if budget else []
    return list(view.without(removed))


def _begins_again(view: View, text: str) -> bool:
    """Whether the last sentence breaks off where it was saying one of the sentences just before it once more."""
    places = view.spans
    if len(places) < 2 or _closed(text) or not view.free[-1]:
        return False
    start, end = places[-1]
    begun = text[start:end]
    if len(begun) < BEGUN or (len(view.words[-1]) < BEGUN_WORDS and "\n" in text[places[-2][1] : start]):
        return False
    return any(
        stop - begin > len(begun) and text.startswith(begun, begin, stop)
        for begin, stop in places[-1 - BEGUN_WITHIN : -1]
    )


def _closed(text: str) -> bool:
    """Whether the text ends on a stop, with what closes over it, or on a sign of code."""
    return (
        text.rstrip(_CLOSERS).endswith(_STOPS)
        or text.endswith(("```", "~~~", "|", "\\]", "$"))
        or (text.endswith(">") and _CLOSING_TAG.search(text[-40:]) is not None)
    )


def _only_marker(sentence: str) -> bool:
    marker = ITEM.match(sentence + " ")
    return marker is not None and marker.end() >= len(sentence)


def _hangs(view: View, place: int) -> bool:
    """Whether a sentence only leads to what follows it: a heading, a lead-in with a colon, a bare marker."""
    start, end = view.spans[place]
    sentence = view.text[start:end]
    bare = sentence.strip("*_ ")
    return (
        bare.endswith((":", "："))
        or sentence.startswith("#")
        or _only_marker(sentence)
        or (
            sentence.startswith("**")
            and sentence.endswith("**")
            and len(view.words[place]) <= 10
            and not bare.endswith((".", "!", "?"))
        )
    )


def _dangles(view: View, place: int) -> bool:
    start, end = view.spans[place]
    return view.text[start:end].endswith((",", ";", " -", "–", "—")) or (
        bool(view.words[place]) and view.words[place][-1] in _DANGLING
    )

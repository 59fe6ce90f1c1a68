"""Tails in another script, or of letters that are no words: marked for the editor, never cut by rule."""

from __future__ import annotations

import re
from collections import Counter

import regex

from cai.cleaning.view import Mark, Row, View

ID = "strange_tail"
REASON = "random text at the end may be an address or a list of names; only a reader can tell"

_SCRIPTS = {
    "Latin": regex.compile(r"\p{Latin}"),
    "Cyrillic": regex.compile(r"\p{Cyrillic}"),
    "Han": regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]"),
    "Arabic": regex.compile(r"\p{Arabic}"),
    "Hebrew": regex.compile(r"\p{Hebrew}"),
    "Greek": regex.compile(r"\p{Greek}"),
    "Hangul": regex.compile(r"\p{Hangul}"),
    "Devanagari": regex.compile(r"\p{Devanagari}"),
    "Thai": regex.compile(r"\p{Thai}"),
}
_SOUP = re.compile(r"\b(?=[a-z]{5,}\b)(?:[^aeiouy\W]{5,}|\w*[^aeiouy\W]{6,}\w*)\b|\b\w*(?:[a-z][0-9]){3,}\w*\b", re.I)


def find(view: View, row: Row) -> list[Mark]:
    """Marks of the last sentences that do not fit the rest."""
    places = view.spans
    if len(places) < 2:
        return []
    text = view.text
    marks = []
    if not text.isascii():
        scripts = [_script(text[start:end]) for start, end in places]
        main = Counter(scripts[: max(1, len(scripts) - 2)]).most_common(1)[0][0]
        first = len(scripts)
        while first > 1 and scripts[first - 1] not in (main, ""):
            first -= 1
        if first < len(scripts) and main:
            marks.append(Mark(places[first][0], places[-1][1], "script"))
    start, end = places[-1]
    tokens = text[start:end].split()
    if len(tokens) >= 3 and len(_SOUP.findall(text[start:end])) * 2 >= len(tokens):
        marks.append(Mark(start, end, "gibberish"))
    return marks


def _script(sentence: str) -> str:
    counts = {name: len(pattern.findall(sentence)) for name, pattern in _SCRIPTS.items()}
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] >= 3 else ""

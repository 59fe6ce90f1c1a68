"""Tails in another script, or of letters that are no words: marked for the editor, never cut by rule."""

from __future__ import annotations

import re
from collections import Counter

import regex

from cai.cleaning.view import Mark, Row, View
from cai.text.regions import touches

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


_SHORT_SOUP = re.compile(r"(?<![\w'’])[bcdfghjklmnpqrstvwxz]{3,}(?![\w'’])")
SHORT, SYMBOLS, LAST = 4, 12, 40
_MARKS = frozenset(".,;:!?'\"’‘“”-–—…")
_SMALL = frozenset(
    [
        "a",
        "about",
        "all",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "do",
        "does",
        "don't",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "it's",
        "its",
        "me",
        "more",
        "my",
        "no",
        "not",
        "of",
        "on",
        "one",
        "or",
        "our",
        "out",
        "she",
        "should",
        "so",
        "some",
        "than",
        "that",
        "the",
        "their",
        "them",
        "there",
        "they",
        "this",
        "to",
        "too",
        "up",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
SALAD, ENGLISH = 8, 0.2
"""Words in a row without a single small one, behind a text in which one in five is small."""


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
    if (
        (len(tokens) >= 3 and len(_SOUP.findall(text[start:end])) * 2 >= len(tokens))
        or len(_SHORT_SOUP.findall(text, start, end)) >= SHORT
        or _symbols(view)
    ):
        marks.append(Mark(start, end, "gibberish"))
    elif len(view.words[-1]) >= SALAD and not _SMALL & set(view.words[-1]) and "," not in text[start:end]:
        others = [word for said in view.words[:-1] for word in said]
        if len(others) >= 2 * SALAD and sum(word in _SMALL for word in others) >= ENGLISH * len(others):
            marks.append(Mark(start, end, "salad"))
    return marks


def _symbols(view: View) -> bool:
    """Whether the last characters are mostly signs, outside of code."""
    end = len(view.text.rstrip())
    start = max(0, end - LAST)
    if touches(view.regions, start, end, frozenset({"code", "table"})):
        return False
    signs = [sign for sign in view.text[start:end] if not sign.isspace()]
    odd = sum(sign.isascii() and not sign.isalnum() and sign not in _MARKS for sign in signs)
    return odd >= SYMBOLS and odd * 3 >= len(signs)


def _script(sentence: str) -> str:
    counts = {name: len(pattern.findall(sentence)) for name, pattern in _SCRIPTS.items()}
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] >= 3 else ""

"""Sentences of a text as spans, and the words of a sentence as a key for equality.

A rule-based splitter made for chat answers in any script: a line break always ends a sentence, a stop ends one unless it
belongs to an abbreviation, a number, an initial or a list marker, and emoticons or emoji after the stop stay with the
sentence they follow.
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re

import regex

from cai.text.emoji import CLUSTER, STARTS

# A stop with the quotes and brackets that close over it, or line breaks.
# One class in front of both cases: where a pattern begins with a class, `re` skips to it without trying each place.
_BREAK, _END = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029", r".!?…‼⁇⁈⁉؟۔।॥܀።፧፨。！？｡．"
_STOP = re.compile(rf"""[{_BREAK}{_END}](?:(?<=[{_BREAK}])[{_BREAK}]*|[{_END}]*['"”’»›)\]}}*_~`」』）】》〉]*)""")
_BREAKS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_CLOSING_QUOTES = frozenset("\"”’»'")
_WIDE = frozenset("。！？｡．")
# What may stand directly behind a stop where no space does.
_OPENERS = regex.compile(r"[\s“\"«‹(\[¿¡\p{Han}\p{Hiragana}\p{Katakana}]|\p{Extended_Pictographic}")
_FACES = regex.compile(rf"(?:[^\S\n\r\v\f\x1c-\x1e\x85\u2028\u2029]*+(?>{CLUSTER.pattern}))++", flags=CLUSTER.flags)
# An emoji or emoticon without a stop ends a sentence too, when a capital follows: "Have a great day 😊 Thank you 😊".
_FACE_END = regex.compile(
    rf"(?<=\S)[ \t]++(?>{CLUSTER.pattern})(?:[ \t]*+(?>{CLUSTER.pattern}))*+(?=[ \t]+\p{{Lu}})", flags=CLUSTER.flags
)
_BEHIND_SPACE = re.compile(rf"[ \t](?:{STARTS.pattern})")
_BEFORE_WORD = re.compile(r"""[("'\[“‘«—–/]""")
_ABBREVIATIONS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "mx",
        "dr",
        "prof",
        "rev",
        "fr",
        "sr",
        "jr",
        "st",
        "sgt",
        "col",
        "gen",
        "capt",
        "lt",
        "cmdr",
        "hon",
        "pres",
        "gov",
        "sen",
        "rep",
        "messrs",
        "mt",
        "ft",
        "vs",
        "etc",
        "al",
        "approx",
        "ca",
        "cf",
        "dept",
        "est",
        "fig",
        "figs",
        "inc",
        "ltd",
        "co",
        "corp",
        "no",
        "nos",
        "vol",
        "pp",
        "pg",
        "ed",
        "eds",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "e.g",
        "i.e",
        "eg",
        "ie",
        "a.m",
        "p.m",
        "u.s",
        "u.k",
        "u.n",
        "e.u",
        "ph.d",
        "b.sc",
        "m.sc",
        "d.c",
        "u.s.a",
        "op",
        "cit",
        "ibid",
        "ver",
        "resp",
        "incl",
        "excl",
        "tel",
        "ext",
        "min",
        "max",
        "avg",
        "bzw",
        "z.b",
        "usw",
        "evtl",
        "ggf",
        "inkl",
        "d.h",
        "u.a",
        "str",
        "nr",
        "hr",
        "fr",
        "ph",
        "env",
        "sra",
        "dra",
        "ud",
        "uds",
        "núm",
        "pág",
        "г",
        "ул",
        "т.д",
        "т.п",
        "т.е",
        "др",
        "стр",
    ]
)
# These end a sentence as often as not, so the next word decides.
_EITHER = frozenset(
    [
        "etc",
        "al",
        "a.m",
        "p.m",
        "u.s",
        "u.k",
        "u.n",
        "e.u",
        "ph.d",
        "d.c",
        "u.s.a",
        "inc",
        "ltd",
        "co",
        "corp",
        "jr",
        "sr",
        "no",
        "est",
        "max",
        "min",
        "usw",
        "др",
        "т.д",
        "т.п",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "ed",
        "ext",
        "fig",
        "st",
    ]
)
_LONG_ENDINGS = frozenset(word[-3:] for word in _ABBREVIATIONS if len(word) >= 3)
"""A word of three letters and more that ends in none of these is no abbreviation."""
_MARKER = regex.compile(r"[ \t>]*(?:[-*•‣◦▪–—]\s+)?(?:\*\*)?\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})\.$")
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’‘ʼ][\p{L}\p{M}\p{N}]+)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")


def spans(text: str, *, faceless: bool = False) -> list[tuple[int, int]]:
    """(start, end) of every sentence, in order, without overlap and without the white space between them.

    ``faceless`` says that the text is known to hold no emoji and no emoticon.

    >>> text = "Take 2.5 kg, e.g. of flour. Mix it! :) Then stop."
    >>> [text[a:b] for a, b in spans(text)]
    ['Take 2.5 kg, e.g. of flour.', 'Mix it! :)', 'Then stop.']
    """
    cuts: list[int] = []
    line_start = 0
    for match in _STOP.finditer(text):
        begin, end = match.span()
        first = text[begin]
        if first in _BREAKS:
            cuts.append(begin)
            line_start = end
            continue
        behind = text[end : end + 1]
        if behind and behind not in " \n":
            if first in _WIDE:
                if behind.isdigit():
                    continue
            elif _OPENERS.match(text, end) is None and (behind not in ":;=" or _FACES.match(text, end) is None):
                continue
        if (
            end - begin > 1
            and text[end - 1] in _CLOSING_QUOTES
            and first in "!?"
            and text[end : end + 2].strip().islower()
        ):
            continue  # "Is it far?" asked the boy.
        if (
            first == "."
            and not (end - begin == 1 and begin - line_start >= 9 and _after_word(text[begin - 3 : begin]))
            and _inner_stop(text, line_start, begin, end)
        ):
            continue
        if not faceless and STARTS.match(text, end + 1 if behind == " " else end):
            faces = _FACES.match(text, end)
            end = faces.end() if faces else end
        cuts.append(end)
    if not faceless:
        cuts = _with_face_ends(text, cuts)
    cuts.append(len(text))
    found = []
    start = 0
    for cut in cuts:
        piece = text[start:cut].lstrip()
        if piece:
            begin = cut - len(piece)
            found.append((begin, begin + len(piece.rstrip())))
        start = cut
    return found


def _with_face_ends(text: str, cuts: list[int]) -> list[int]:
    ends = set()
    for found in _BEHIND_SPACE.finditer(text):
        start = found.start()
        while start and text[start - 1] in " \t":
            start -= 1
        if match := _FACE_END.match(text, start):
            ends.add(match.end())
    return sorted(ends.union(cuts)) if ends else cuts


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order.

    >>> sentences("I can't help with that. Please ask Dr. Smith!")
    ["I can't help with that.", 'Please ask Dr. Smith!']
    """
    return [text[start:end] for start, end in spans(text)]


def key(sentence: str) -> str:
    """The case-folded words of a sentence, joined by one space: equal keys are the same sentence; "" without any word.

    >>> key("Have a **great** day!! :)"), key("1. Don’t stop"), key("—")
    ('have a great day', "1 don't stop", '')
    """
    return " ".join(words(sentence))


def words(text: str) -> list[str]:
    """The case-folded words of a text, apostrophes made straight.

    >>> words("Don’t PANIC, 2.5 kg")
    ["don't", 'panic', '2', '5', 'kg']
    """
    folded = text.casefold()
    if not folded.isascii():
        folded = folded.replace("’", "'").replace("‘", "'").replace("ʼ", "'")
    return _ASCII_WORD.findall(folded) if folded.isascii() else _WORD.findall(folded)


def _inner_stop(text: str, line_start: int, begin: int, end: int) -> bool:
    """Whether the full stop at begin belongs to a marker, an initial or an abbreviation and ends no sentence."""
    run = end - begin
    if begin + 1 < len(text) and text[begin + 1] == ".":  # an ellipsis: the next word decides
        after = text[end : end + 2].lstrip()
        return bool(after) and after[0].islower()
    if run > 1 and text[begin + 1] not in "*_)":
        return False
    if begin - line_start < 9 and _MARKER.match(text[line_start : begin + 1]):
        return True
    piece = text[max(line_start, begin - 14) : begin]
    if not piece or piece[-1].isspace():
        return False
    word = _BEFORE_WORD.split(piece.split()[-1])[-1]
    if not word:
        return False
    if len(word) == 1:  # an initial, not "I" or a digit
        return (
            word.isupper() and word != "I" and text[end : end + 2].strip()[:1].isupper() and _initial(text, begin - 1)
        )
    low = word.casefold()
    if low not in _ABBREVIATIONS:
        return False
    if low not in _EITHER:
        return True
    after = text[end : end + 2].strip()
    if low == "no" and not after[:1].isdigit():
        return False
    return bool(after) and not after[0].isupper()


def _after_word(last: str) -> bool:
    """Whether the three signs before a full stop tell that it ends a sentence, as `_inner_stop` would find out."""
    return last.isalpha() and last.casefold()[-3:] not in _LONG_ENDINGS


def _initial(text: str, start: int) -> bool:
    before = text[start - 1 : start]
    if not before.strip():
        previous = text[:start].rstrip()[-12:].split()
        return not previous or (previous[-1][:1].isupper() and len(previous[-1]) > 1) or previous[-1][-1:] == "."
    return before in ".("


_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")


def size(sentence_key: str) -> int:
    """How many words a key has; in scripts without spaces two characters count as one word.

    >>> size("have a great day"), size("今天天气很好")
    (4, 3)
    """
    if not sentence_key:
        return 0
    count = sentence_key.count(" ") + 1
    if sentence_key.isascii():
        return count
    unspaced = len(_UNSPACED.findall(sentence_key))
    return count if unspaced < 3 else count - 1 + (unspaced + 1) // 2

"""Words and phrases that follow themselves, and exact periodic tails."""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re
from operator import eq
from typing import Any

import numpy as np
import regex

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View
from cai.text.regions import Region, touches

ID = "inner_repeats"
REASON = 'a phrase that follows itself again and again ("loaded loaded loaded") is a loop of the sampler'

_Numbers = np.ndarray[Any, np.dtype[np.int64]]
LISTED = 3
LONGEST_PERIOD = 80
LONGEST_UNSPACED = 240
"""Where every sign counts as a word."""
CALLED = 6
SUNG = 20
"""Rounds of "na na na" in a song."""
QUOTED_RUN = 12
STRETCHED = 30
"""Letters: no word is so long but by laughing on ("hahaha...") or by one letter held down."""
_STRETCH = regex.compile(r"([^\W\d_]{1,4}?)\1{9,}", regex.I)
_BASES = frozenset("acgtu")
QUOTED, QUOTED_ROUNDS = 80, 6
"""A saying of so many characters may play with its words: "Rose is a rose is a rose is a rose."."""
_STOP = re.compile(r"[!?！？]")
_END = re.compile(r"[.!?…。！？]")
_ANNOUNCED = re.compile(
    r"\b(?:repeat|say|sing|chant|count|read|write|type|stands?|goes|times|wiederhol|sprich|sag|répète|dis|repite|di|повтор|скажи)\w*\b[^.!?\n]{0,60}"
    r"\b(?:times(?: fast)?|twice|thrice|after me|with me|mal|fois|veces|раза?|за мной)\b[^.!?\n]{0,20}[:,]?\s*[\"“„«']?\Z",
    re.I,
)
"""A run that the words before it ask for: "Say it three times fast:"."""
_CLOSING = regex.compile(r"[\"'”’)]*[.!?…。！？]+[\"'”’)]*")
_NEVER = frozenset({"code", "table"})
_SPARED = frozenset({"verse"})
_EMPHATIC = frozenset(
    [
        "very",
        "really",
        "so",
        "much",
        "many",
        "more",
        "never",
        "no",
        "yes",
        "ha",
        "hah",
        "haha",
        "he",
        "hehe",
        "hee",
        "ho",
        "la",
        "na",
        "da",
        "du",
        "ba",
        "bla",
        "blah",
        "bye",
        "knock",
        "wait",
        "please",
        "far",
        "far",
        "long",
        "again",
        "hey",
        "hi",
        "row",
        "ever",
        "always",
        "old",
        "big",
        "well",
        "now",
        "come",
        "go",
        "run",
        "good",
        "great",
        "beep",
        "boop",
        "tick",
        "tock",
        "woof",
        "meow",
        "moo",
        "quack",
        "oink",
        "ring",
        "ding",
        "chop",
        "chug",
        "blow",
        "rah",
        "ja",
        "nein",
        "oui",
        "non",
        "si",
        "sí",
        "да",
        "нет",
        "очень",
        "sehr",
        "très",
        "muy",
        "molto",
        "muito",
    ]
)
_DIGITS = frozenset(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
_LINKS = frozenset(["and", "by", "or", "to", "on", "after", "upon", "und", "et", "y", "e", "и", "oder", "ou"])


def find(view: View, row: Row) -> list[Cut]:
    """Cuts that leave one round of every run of equal rounds; numbers, emphasis, code, tables and verse stay."""
    words = view.flat
    text = view.text
    if stretched := _stretched(view):
        return stretched
    if len(words) < 3 or not (view.n_grams_again or any(map(eq, words, words[1:]))):
        return []
    runs = _runs(view.numbers, view.grams, LONGEST_PERIOD if text.isascii() else LONGEST_UNSPACED)
    if not runs:
        return []
    tokens = view.tokens
    cuts: list[Cut] = []
    covered = 0
    for start, period, length in runs:
        if start < covered:
            continue
        if not _begins(text, tokens, start) and (
            later := next((at for at in range(1, period) if _begins(text, tokens, start + at)), 0)
        ):
            start, length = start + later, length - later  # rounds are sentences: none is cut in two
            if length < period:
                continue
        rounds = length // period  # beside the first
        if not _is_loop(words[start : start + period], rounds + 1, text, tokens, start):
            continue
        first_end = tokens[start + period - 1][1]
        last = start + period + rounds * period - 1
        end = tokens[last][1]
        rest = length - rounds * period
        if rest and start + period + length == len(tokens):  # the partial round of a cut tail
            end = tokens[-1][1]
        begin = tokens[start][0]
        if _protected(
            view.regions, begin, end, rounds + 1, _EMPHATIC.issuperset(words[start : start + period])
        ) or _meant(view, start, period, rounds + 1):
            continue
        if end == tokens[-1][1] and rest and (closing := _CLOSING.match(text, first_end)):
            first_end, end = closing.end(), len(text)  # cut off in the middle of a round: the first one was closed
        elif (
            end == tokens[-1][1]
            and rest
            and _CLOSING.match(text, end)
            and _CLOSING.match(text, tokens[start + rest - 1][1])
        ):
            first_end = tokens[start + rest - 1][1]  # the last round is the whole one: end where it ends
        cuts.append(Cut(first_end, end))
        covered = last + 1
    return cuts


def _stretched(view: View) -> list[Cut]:
    """Cuts within words that are one letter or syllable over and over, but for two rounds; bases of a genome stay."""
    if max(map(len, view.flat), default=0) < STRETCHED:
        return []
    cuts = []
    for (start, end), word in zip(view.tokens, view.flat, strict=True):
        if len(word) < STRETCHED or (match := _STRETCH.search(view.text, start, end)) is None:
            continue
        if not set(match.group().casefold()) <= _BASES and not touches(view.regions, start, end, _NEVER):
            cuts.append(Cut(match.start() + max(2 * len(match[1]), 3), match.end()))
    return cuts


def _meant(view: View, start: int, period: int, rounds: int) -> bool:
    """Whether a run is asked for, sung in quotation marks, called out as sentences or a sequence of codes."""
    text, tokens, words = view.text, view.tokens, view.flat
    begin, end = tokens[start][0], tokens[start + period * rounds - 1][1]
    if rounds <= LISTED and 1 < period <= CALLED and text[:begin].rstrip(" \n\"'*_").endswith(":"):
        return True  # a sequence that is spelt out: "from the bottom: sauce, pasta, sauce, pasta, sauce, pasta"
    if rounds <= CALLED and _ANNOUNCED.search(text, max(0, begin - 100), begin):
        return True
    if period == 1:
        if rounds < QUOTED_RUN and words[start] in _EMPHATIC:
            return any(found.kind == "quote" and found.start < begin and end < found.end for found in view.regions)
        near = [slice(*tokens[place]) for place in (start - 1, start, start + rounds) if 0 <= place < len(tokens)]
        return len(near) == 3 and all(text[one].isupper() and 2 <= len(text[one]) <= 4 for one in near)
    if period <= CALLED and rounds == 3:  # `repeated_sentences` judges what is called out
        gap = text[tokens[start + period - 1][1] : tokens[start + period][0]]
        return _STOP.search(gap) is not None
    return False


def _begins(text: str, tokens: list[tuple[int, int]], place: int) -> bool:
    """Whether a sentence begins with this word."""
    return place == 0 or _END.search(text, tokens[place - 1][1], tokens[place][0]) is not None


def _runs(words: _Numbers, grams: _Numbers, longest: int) -> list[tuple[int, int, int]]:
    """(start, period, length): from start + period on, length words equal the word one period before them."""
    # A run of any period but 1 holds four words that stand again one period later.
    periods = {1}
    order = grams.argsort(kind="stable")
    ordered = grams[order]
    for lag in range(1, 5):
        apart = (order[lag:] - order[:-lag])[ordered[lag:] == ordered[:-lag]]
        periods.update(apart[apart <= longest].tolist())
    found = []
    for period in periods:
        same = words[period:] == words[: max(len(words) - period, 0)]
        equal = same.tobytes()
        least = b"\x01" * (period if period >= 8 else 2 * period)
        start = equal.find(least)
        runs = []
        while start >= 0:
            end = equal.find(b"\x00", start)
            end = len(equal) if end < 0 else end
            runs.append((start, period, end - start))
            start = equal.find(least, end)
        # one round and a part of the next is a loop only where the period shows elsewhere too
        if any(length >= 2 * period - 1 for _, _, length in runs) or (
            runs and np.count_nonzero(same[1:] & same[:-1]) >= 2 * period - 2
        ):
            found.extend(runs)
    # the shortest period explains a run, longer ones are its multiples
    return sorted(found)


def _is_loop(period: list[str], rounds: int, text: str, tokens: list[tuple[int, int]], start: int) -> bool:
    if all(not any(sign.isalpha() for sign in word) for word in period):
        return False
    n = len(period)
    if n == 1:
        word = period[0]
        if not word.isascii() and len(word) == 1:  # one character of a script without spaces: laughter, doubled words
            return rounds >= 9
        if word in _DIGITS:  # read out digit by digit
            return rounds >= 5
        if word in _EMPHATIC or len(word) <= 2 or len(set(word)) <= 2:
            return rounds >= 7
        between = text[tokens[start][1] : tokens[start + 1][0]]
        return rounds >= (3 if not between.strip() else 5)
    if n == 2:
        if all(not word.isascii() and len(word) == 1 for word in period):
            return rounds >= 6
        return rounds >= (6 if set(period) <= _EMPHATIC | _LINKS or set(period) & _LINKS else 4)
    return rounds >= 3 if n < 8 else rounds >= 2


def _protected(found: list[Region], start: int, end: int, rounds: int, sung: bool) -> bool:
    if not found:
        return False
    if touches(found, start, end, _NEVER):
        return True
    if rounds < (SUNG if sung else 6) and touches(found, start, end, _SPARED):
        return True
    quotes = [region for region in found if region.kind == "quote"]
    if rounds < QUOTED_ROUNDS and any(
        region.start < start and end <= region.end and region.end - region.start <= QUOTED for region in quotes
    ):
        return True
    if rounds < 20 and sum(start <= region.start and region.end <= end for region in quotes) >= 2:
        return True  # words that are spoken of, each in its quotation marks
    # inside one item or quote a loop is a loop; across items it is `line_loops`' business
    partly = [
        region for region in found if region.kind in ("list", "label") and region.start < end and start < region.end
    ]
    if rounds < 6:
        partly += [region for region in found if region.kind == "quote" and region.start < end and start < region.end]
    return any(not (region.start <= start and end <= region.end) for region in partly)

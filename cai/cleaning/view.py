"""One text as the rules see it: segmented at most once, whatever the number of rules."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import regex

from cai.cleaning.edits import Cut
from cai.text.regions import Region, regions
from cai.text.sentences import size, spans, words

_TOKEN = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|(?:(?![\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])[\p{L}\p{M}\p{N}]|(?<=\w)['’](?=\w))+"
)

UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_BLANKED = {byte: " " for byte in range(128) if not chr(byte).isalnum() and byte != ord("'")}
_LOOSE = re.compile(r"'(?:(?![a-z0-9])|(?<![a-z0-9]'))")
_INSIDE = np.array([chr(byte).isalnum() and byte < 128 for byte in range(256)])
"""The bytes of words in ASCII."""
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
_PLAIN_TOKEN = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*")
_FAMILIAR = "\x00-\u024f\u2010-\u2027\u2600-\u27bf\U0001f300-\U0001faff"
_UNFAMILIAR = re.compile(f"[^{_FAMILIAR}]")
_FAMILIAR_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
"""The tokens of `_PLAIN_TOKEN` in a text of `_FAMILIAR` signs, where ``re`` and ``regex`` know the same letters."""
_MOST_NUMBERED = 1 << 15
"""Four numbers below this fit into one of 63 bits."""


class Row(NamedTuple):
    """What is known of one text to be cleaned. ``finish_reason`` "length" says that its end is the token budget's."""

    key: str
    text: str
    prompt: str | None = None
    response: str | None = None
    critique: str | None = None
    finish_reason: str | None = None


class Drop(NamedTuple):
    """The row shall not be kept."""

    reason: str


class Mark(NamedTuple):
    """A place that a rule finds doubtful and leaves to the editor."""

    start: int
    end: int
    what: str


def _ascii_tokens(text: str) -> list[tuple[int, int]]:
    """The spans of letters and digits, with the apostrophes between them."""
    signs = np.frombuffer(text.encode(), dtype=np.uint8)
    inside = np.zeros(len(signs) + 2, dtype=np.int8)
    inside[1:-1] = _INSIDE[signs]
    if "'" in text:
        inside[1:-1] |= (signs == ord("'")) & (inside[:-2] & inside[2:]).view(bool)
    edges = np.flatnonzero(inside[1:] != inside[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


class View:
    """A text with its sentences, their words and its protected regions, each computed when first asked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.faceless = False
        """whether it is known that no emoji and no emoticon stands in the text"""

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        return spans(self.text, faceless=self.faceless)

    @cached_property
    def blanked(self) -> str:
        """The text in lower case with blanks for all that is no word, where it is so plain that blanks alone tell its
        words apart; else ""."""
        if not self.text.isascii():
            return ""
        blanked = self.text.lower().translate(_BLANKED)
        return blanked if _LOOSE.search(blanked) is None else ""

    @cached_property
    def words(self) -> list[list[str]]:
        """The case-folded words of each sentence."""
        if blanked := self.blanked:  # as `cai.text.sentences.words`, at a third of its cost
            return [blanked[start:end].split() for start, end in self.spans]
        return [words(self.text[start:end]) for start, end in self.spans]

    @cached_property
    def flat(self) -> list[str]:
        """The case-folded words of `tokens`."""
        text = self.text
        if blanked := self.blanked:
            return blanked.split()
        if text.isascii():
            return _ASCII_WORD.findall(text.lower())
        return [text[start:end].casefold() for start, end in self.tokens]

    @cached_property
    def n_grams_again(self) -> int:
        """How many 4-grams of `flat` stand there for the second time or a later one."""
        flat = self.flat
        if len(flat) < 5:
            return 0
        return len(flat) - 3 - len(set(zip(flat, flat[1:], flat[2:], flat[3:], strict=False)))

    @cached_property
    def numbers(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """A number for each word of `flat`; equal words have equal ones."""
        flat = self.flat
        number = {word: place for place, word in enumerate(dict.fromkeys(flat))}
        return np.fromiter(map(number.__getitem__, flat), np.int64, len(flat))

    @cached_property
    def grams(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """A number for each 4-gram of `flat`; equal ones have equal ones, and no others."""
        numbers = self.numbers
        if len(numbers) < 4:
            return numbers[:0]
        most = int(numbers.max()) + 1
        if most > _MOST_NUMBERED:
            flat = self.flat
            grams = list(zip(flat, flat[1:], flat[2:], flat[3:], strict=False))
            number = {gram: place for place, gram in enumerate(dict.fromkeys(grams))}
            return np.fromiter(map(number.__getitem__, grams), np.int64, len(grams))
        pairs = numbers[:-1] * most + numbers[1:]
        return pairs[:-2] * (most * most) + pairs[2:]

    @cached_property
    def keys(self) -> list[str]:
        return [" ".join(found) for found in self.words]

    @cached_property
    def sizes(self) -> list[int]:
        """How many words each sentence has, scripts without spaces included."""
        return [size(found) for found in self.keys]

    @cached_property
    def regions(self) -> list[Region]:
        return regions(self.text)

    @cached_property
    def free(self) -> list[bool]:
        """Whether each sentence lies outside every protected region."""
        found = self.regions
        if not found:
            return [True] * len(self.spans)
        free, place, reach = [], 0, 0  # what `protects` says, in one walk through both
        for start, end in self.spans:
            while place < len(found) and found[place].start <= start:
                reach = max(reach, found[place].end)
                place += 1
            free.append(reach < end)
        return free

    @cached_property
    def n_words(self) -> int:
        return sum(self.sizes)

    @cached_property
    def tokens(self) -> list[tuple[int, int]]:
        """The spans of all words; in scripts without spaces every character is one."""
        if self.text.isascii():
            return _ascii_tokens(self.text)
        if _UNFAMILIAR.search(self.text) is None:
            return [match.span() for match in _FAMILIAR_TOKEN.finditer(self.text)]
        pattern = _TOKEN if UNSPACED.search(self.text) else _PLAIN_TOKEN
        return [match.span() for match in pattern.finditer(self.text)]

    def without(self, removed: set[int]) -> list[Cut]:
        """Cuts that remove these sentences whole, with the white space that they leave over."""
        cuts = []
        last = len(self.spans) - 1
        for first in sorted(removed):
            if first - 1 in removed:
                continue
            end_of = first
            while end_of + 1 in removed:
                end_of += 1
            start, end = self.spans[first][0], self.spans[end_of][1]
            if first == 0 and end_of == last:
                cuts.append(Cut(0, len(self.text)))
            elif first == 0:
                cuts.append(Cut(start, self.spans[end_of + 1][0]))
            elif end_of == last:
                cuts.append(Cut(self.spans[first - 1][1], len(self.text)))
            else:
                before = self.text[self.spans[first - 1][1] : start]
                after = self.text[end : self.spans[end_of + 1][0]]
                if before.count("\n") >= after.count("\n"):
                    cuts.append(Cut(start, self.spans[end_of + 1][0]))
                else:
                    cuts.append(Cut(self.spans[first - 1][1], end))
        return cuts

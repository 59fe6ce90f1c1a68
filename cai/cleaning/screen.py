"""The cheap look at a text that tells which rules could have anything to do: most good rows pass with none.

A screen may let a rule run for nothing; it must not keep one from a text that the rule would change (tested against
the rules without it).
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from cai.cleaning.rules.closings import COURTESY, FORMULA_HINTS, PLAIN
from cai.cleaning.rules.inner_repeats import STRETCHED
from cai.cleaning.view import Row
from cai.text.emoji import MAYBE as MAYBE_FACE
from cai.text.roles import MAYBE as MAYBE_TAG

Numbers = np.ndarray[Any, np.dtype[Any]]
_BITS = ("odd", "tag", "lead", "face", "repeat", "courtesy", "talk", "tail", "copy", "face_at_all", "strange")
EVERYTHING = frozenset(_BITS)
NEEDS: dict[str, str] = {
    "encoding": "odd",
    "role_tags": "tag",
    "meta_preamble": "lead",
    "emoji_runs": "face",
    "inner_repeats": "repeat",
    "periodic_tail": "repeat",
    "repeated_sentences": "repeat",
    "near_repeats": "repeat",
    "line_loops": "repeat",
    "closings": "courtesy",
    "meta_talk": "talk",
    "cut_tail": "tail",
    "copies": "copy",
    "strange_tail": "strange",
    "remains": "repeat",
    "repeated_phrases": "repeat",
}
"""What each rule needs to see before it runs."""
AFTER_EDIT = frozenset({"tag", "lead", "repeat", "courtesy", "tail"})
"""What a deletion may bring about: other words follow each other, begin the text or end it. A repaired encoding may bring anything."""
MARKING = frozenset({"strange_tail"})
"""Rules that make nothing but marks, which nobody but the editor reads."""

_ODD = r"[^\t\n\x20-\x7e‘’“”–—…]"
_FOREIGN = r"[\x{0370}-\x{1fff}\x{2e80}-\x{abff}\x{ac00}-\x{d7ff}\x{f900}-\x{faff}\x{20000}-\x{3ffff}]"
"""Scripts that the ASCII screens know nothing of."""
_ODD_ONE = re.compile(_ODD)
_FOREIGN_ONE = re.compile(re.sub(r"\\x\{([0-9a-f]+)\}", lambda match: chr(int(match[1], 16)), _FOREIGN))
_HEAD = 420
_FEW = 24
_FACE, _TAG = MAYBE_FACE.pattern, MAYBE_TAG.pattern
_FACES = 3
_LEADS = (
    "revis",
    "rewri",
    "re-wri",
    "rewro",
    "re-wro",
    "rephr",
    "re-phr",
    "reword",
    "rework",
    "reform",
    "paraph",
    "toned",
    "version",
    "response",
    "reply",
    "answer",
    "statement",
    "message",
    "attempt",
    "try ",
    " instead",
)
_TALKS = (
    "response", "reply", "replies", "revis", "rewri", "re-wr", "critique", "rephras", "re-ph", "reword", "rework",
    "reformul", "toned", "sanitiz", "paraphr", "assistant", "chatbot", "ai model", "ai system", "the human", "this human",
    "a human", "the user", "this user", "a user", "original ", "previous ", "prior ", "preceding ", "initial ", "earlier ",
    "this answer", "changes", "removed", "replaced", "changed", "simplified", "reframed", "kept", "adjusted", "modified",
    "harmful, ", "racist, sexist", "unethical, ", "adjustment", "modification", "improvement", "edits", "added ", "antwort", "respuesta", "risposta", "resposta",
    "my first", "my last", "model output", "ai output", "model's output", "ai's output",
)  # fmt: skip
_MARKED_TALKS = (
    "statement",
    "answer",
    "message",
    "language",
    "conversation",
    "dialogue",
    "exchange",
    "interaction",
    "passage",
    "ethical",
    "toxic",
    "sensitive",
    "objectionable",
    "racist",
    "-friendly",
    "problematic",
    "gaslighting",
)
"""What only makes a mark, which nobody but the editor reads."""
_ALL_LEADS, _ALL_TALKS, _WITH_MARKED = list(_LEADS), list(_TALKS), [*_TALKS, *_MARKED_TALKS]
_LAST_WORDS = 95
"""Three closings of 30 words each, the longest that `closings.is_closing` takes."""
_LAST_FEW, _STRANGE = 8, 3
"""A closing has at most three words that no closing has, so the last eight words of a text that ends in one have no more."""
_GRAMS = 3
"""So many 4-grams of words that stand twice are no chance: six words in a row were said before."""
_PERIOD = 200


def suspicions(texts: Sequence[str], rows: Sequence[Row], *, marks: bool = True) -> list[frozenset[str]]:
    """Which of `EVERYTHING` each text gives reason for: one look at all texts together is what makes it cheap."""
    raw = [text.encode("utf-8", "replace") for text in texts]
    broken = [place for place, text in enumerate(texts) if not text.isascii() and _has_surrogate(text)]
    found = np.zeros((len(_BITS), len(texts)), dtype=bool)
    look = _look_at_column if len(texts) >= _FEW else _look_at_each
    plain = [one.decode("utf-8") for one in raw] if broken else list(texts)
    odd, found[1], found[2], n_faces, found[6], foreign = look(plain, _WITH_MARKED if marks else _ALL_TALKS)
    found[0] = odd
    found[2] |= odd
    found[3] = n_faces >= _FACES
    found[4], found[5] = _repeats(raw, odd)
    found[6] |= odd
    found[9] = n_faces > 0
    found[10] = marks
    for place, (text, row) in enumerate(zip(texts, rows, strict=True)):
        stripped = text.rstrip()
        if not found[7, place]:
            found[7, place] = _may_be_cut(stripped, row, odd[place])
        if row.response is not None or row.critique is not None:
            found[8, place] = True
        if "))))))))" in text or "((((((((" in text or "DDDDDDDD" in text:
            found[3, place] = True
        tail = stripped[-7:]
        if text.find(tail, max(0, len(text) - _PERIOD), len(stripped) - 1) >= 0:
            found[4, place] = True
    found[:, odd & foreign] = True
    found[:, broken] = True
    codes = (found * (1 << np.arange(len(_BITS)))[:, None]).sum(axis=0).tolist()
    return [_names(code) for code in codes]


def calls(seen: frozenset[str]) -> bool:
    """Whether any rule has to run."""
    return bool(seen - {"face_at_all"})


def _look_at_column(texts: list[str], talks: list[str]) -> Sequence[Numbers]:
    """For each text: odd, tagged, with a lead-in, how many faces, talking, foreign."""
    text = pl.col("text")
    looks = pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(
        odd=text.str.contains(_ODD),
        tag=text.str.contains(_TAG),
        lead=text.str.slice(0, _HEAD).str.contains_any(_ALL_LEADS, ascii_case_insensitive=True),
        faces=text.str.count_matches(_FACE),
        talk=text.str.contains_any(talks, ascii_case_insensitive=True),
        foreign=text.str.contains(_FOREIGN),
    )
    return [column.to_numpy() for column in looks]


def _look_at_each(texts: list[str], talks: list[str]) -> Sequence[Numbers]:
    """The same for a few texts, for which a column is not worth its while."""
    looks = np.zeros((6, len(texts)), dtype=np.int64)
    for place, text in enumerate(texts):
        low = text.lower()
        looks[:, place] = (
            _ODD_ONE.search(text) is not None,
            MAYBE_TAG.search(text) is not None,
            any(map(low[:_HEAD].__contains__, _ALL_LEADS)),
            sum(1 for _ in MAYBE_FACE.finditer(text)),
            any(map(low.__contains__, talks)),
            _FOREIGN_ONE.search(text) is not None,
        )
    return [look if place == 3 else look.astype(bool) for place, look in enumerate(looks)]


@cache
def _names(code: int) -> frozenset[str]:
    return frozenset(name for place, name in enumerate(_BITS) if code >> place & 1)


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _may_be_cut(stripped: str, row: Row, odd: bool) -> bool:
    if row.finish_reason == "length":
        if odd or not stripped.endswith((".", "!", "?")) or "\n#" in stripped:
            return True
        last = stripped[-8:]
        return any(map(str.isdigit, last)) or " " not in last[-4:-1] + "x" or len(last.rpartition(" ")[2]) <= 4
    return row.finish_reason is None and (odd or not stripped.endswith((".", "!", "?")))


# What follows looks at all texts as one array of bytes. Words and n-grams become 64-bit hashes (polynomials over prefix
# sums, modulo 2 ** 64), and equal hashes within a row are counted by sorting. Two different things with one hash would
# let a rule run for nothing, no more.
_STEP = np.uint64(0x9E3779B97F4A7C15 | 1)
_STEP_BACK = np.uint64(pow(int(_STEP), -1, 1 << 64))
_OTHER, _OTHER_BACK = np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(pow(0xC2B2AE3D27D4EB4F, -1, 1 << 64))
_MIX = tuple(np.uint64(number) for number in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93))
_WORD, _STOP, _GONE = 1, 2, 3
_CLASS = np.zeros(256, dtype=np.uint8)
_CLASS[[*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1), *range(ord("0"), ord("9") + 1)]] = _WORD
_CLASS[128:] = _WORD
_CLASS[[ord(sign) for sign in ".!?\n\r"]] = _STOP
_CLASS[ord("'")] = _GONE
_VALUE = np.array([(ord(chr(byte).lower()) if byte < 128 else byte) * 0x9E3779B1 + 0x85EBCA77 for byte in range(256)])
_VALUE = _VALUE.astype(np.uint64)
_TABLE = 1 << 16


@cache
def _powers(n: int) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Powers 0 to n of both steps and of their inverses."""
    found = []
    for step in (_STEP, _STEP_BACK, _OTHER, _OTHER_BACK):
        powers = np.full(n + 1, step, dtype=np.uint64)
        powers[0] = 1
        found.append(np.cumprod(powers, dtype=np.uint64))
    return found[0], found[1], found[2], found[3]


def _power_tables(n: int) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    return _powers(1 << max(12, (n + 1).bit_length()))


def _known(words: frozenset[str]) -> Numbers:
    """A table of low bits of hashes; others may share them, none of these words is missed."""
    table = np.zeros(_TABLE, dtype=bool)
    joined = [word.replace("'", "").encode() for word in sorted(words)]
    buffer = np.frombuffer(b" ".join(joined) + b" ", dtype=np.uint8)
    table[_low_bits(_words(buffer)[2])] = True
    return table


def _low_bits(hashes: Numbers) -> Numbers:
    return (hashes >> np.uint64(32)).astype(np.int64) & (_TABLE - 1)


def _words(buffer: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """(starts, ends, hashes) of all words."""
    power, back, _, _ = _power_tables(len(buffer))
    word = np.zeros(len(buffer) + 1, dtype=np.int8)
    word[:-1] = _CLASS[buffer] == _WORD
    edge = np.diff(word, prepend=np.int8(0))
    starts, ends = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    sums = np.zeros(len(buffer) + 1, dtype=np.uint64)
    np.cumsum(_VALUE[buffer] * power[: len(buffer)], out=sums[1:])
    return starts, ends, (sums[ends] - sums[starts]) * back[starts] * _MIX[0]


def _repeats(raw: list[bytes], odd: Numbers) -> tuple[Numbers, Numbers]:
    """For each text whether something in it may be said again, and whether it may end in closings."""
    n_rows = len(raw)
    joined = b"\n".join(raw) + b"\n"
    lengths = np.fromiter(map(len, raw), np.int64, n_rows) + 1
    row_ends = np.cumsum(lengths)
    buffer = np.frombuffer(joined, dtype=np.uint8)
    keep = buffer != ord("'")
    if not joined.isascii():
        buffer = buffer.copy()
        lead = np.flatnonzero((buffer[:-2] == 0xE2) & (buffer[1:-1] == 0x80))
        last = buffer[lead + 2]
        buffer[lead] = np.where(last == 0xA6, ord("."), ord(" "))
        buffer[lead + 1] = buffer[lead + 2] = ord(" ")
        apostrophe = lead[last == 0x99]
        keep[apostrophe] = keep[apostrophe + 1] = keep[apostrophe + 2] = False
    row_ends -= np.searchsorted(np.flatnonzero(~keep), row_ends)
    buffer = buffer[keep]
    starts, ends, words = _words(buffer)
    n_words = np.diff(np.searchsorted(starts, row_ends), prepend=0)
    row_of = np.repeat(np.arange(n_rows), n_words)
    last_word = np.cumsum(n_words)
    repeated = n_words < 3
    repeated |= np.bincount(row_of[ends - starts >= STRETCHED], minlength=n_rows) > 0
    repeated |= np.bincount(row_of[1:][(words[1:] == words[:-1]) & (row_of[1:] == row_of[:-1])], minlength=n_rows) > 0

    if len(words) > 3:
        grams = words[:-3] + words[1:-2] * _MIX[0] + words[2:-1] * _MIX[1] + words[3:] * _MIX[2]
        inside = row_of[3:] == row_of[:-3]
        repeated |= _twice(grams[inside], row_of[3:][inside], n_rows) >= np.where(odd, 1, _GRAMS)
    # Parts: what stands between two stops, of two words or more.
    _, _, power, back = _power_tables(max(len(buffer), len(words)))
    stops = np.flatnonzero(_CLASS[buffer] == _STOP)
    bounds = np.searchsorted(starts, stops)
    first, end = np.concatenate(([0], bounds[:-1])) if len(bounds) else bounds, bounds
    lone = first[end - first == 1]
    lone = lone[buffer[starts[lone]] > ord("9")]
    repeated |= _twice(words[lone], row_of[lone], n_rows) >= 3
    long = end - first >= 2
    first, end = first[long], end[long]
    sums = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(words * power[: len(words)], out=sums[1:])
    parts = (sums[end] - sums[first]) * back[first]
    rows = row_of[first]
    repeated |= _twice(parts, rows, n_rows) >= 1
    longer = end - first >= 4
    head, tail, rows = first[longer], end[longer], rows[longer]
    repeated |= _twice(words[head] + words[tail - 1] * _MIX[2], rows, n_rows) >= 2
    # Closings: courtesy near the end, and next to no word among the last ones that no closing has.
    from_end = last_word[row_of] - np.arange(len(words))
    near = from_end <= _LAST_WORDS
    bits = _low_bits(words)
    courtesy = np.bincount(row_of[near & _tables()[0][bits]], minlength=n_rows) >= 3
    offers = np.bincount(row_of[near & _tables()[2][bits]], minlength=n_rows) >= 2
    strange = np.bincount(row_of[(from_end <= _LAST_FEW) & ~_tables()[1][bits]], minlength=n_rows) <= _STRANGE
    return repeated, courtesy & (strange | offers) | odd


@cache
def _tables() -> tuple[Numbers, Numbers, Numbers]:
    return _known(COURTESY | FORMULA_HINTS), _known(COURTESY | PLAIN), _known(FORMULA_HINTS)


def _twice(hashes: Numbers, row_of: Numbers, n_rows: int) -> Numbers:
    """For each row how many of its hashes have stood in it before."""
    keys = (row_of.astype(np.uint64) << np.uint64(48)) | (hashes >> np.uint64(16))
    keys.sort()
    again = keys[1:][keys[1:] == keys[:-1]]
    return np.bincount((again >> np.uint64(48)).astype(np.int64), minlength=n_rows)

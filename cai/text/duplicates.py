"""Which texts say the same: exact and near duplicates by word 3-grams.

Two texts are near duplicates when the Jaccard similarity of their sets of word 3-grams reaches a threshold (0.7 in
the measurements of HH-RLHF: 2,175 first prompts, 2,162 clusters). The join is exact, not MinHash: rarest-first prefix
filtering (Bayardo et al. 2007, "Scaling up all pairs similarity search") finds every pair and is fast enough here,
so no seed and no missed pair have to be explained.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

import regex

Grams = frozenset[str]

_APOSTROPHES = regex.compile(r"['\u2019\u02bc\u0060]")
# Scripts written without spaces count character by character; a run of them would otherwise be one word.
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\w--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}_]]+", regex.V1
)


def normalised(text: str) -> str:
    """The words of a text, folded (NFKC, case, apostrophes, punctuation, white space), joined by single spaces.

    A text without any word comes back stripped, so that "???" and "!!!" stay different.

    >>> normalised("What\u2019s  UP, doc?")
    'whats up doc'
    """
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_WORD.findall(folded)) or text.strip()


def grams(text: str, n: int = 3) -> Grams:
    """The set of word n-grams of a text; a text of fewer than n words is one gram, so that it only equals itself.

    >>> sorted(grams("one two three four"))
    ['one two three', 'two three four']
    """
    words = normalised(text).split(" ")
    if len(words) < n:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of the word 3-grams of two texts, 0 to 1."""
    left, right = grams(a), grams(b)
    return len(left & right) / len(left | right)


def kept(texts: Sequence[str], threshold: float, owners: Sequence[object] | None = None) -> list[int | None]:
    """For every text None when it is kept, else the index of the kept text that it nearly repeats.

    Texts are taken in a fixed order of their hash, so the result does not depend on the order of the input, and no two
    kept texts are near duplicates. Texts with the same owner never exclude each other: the prefixes of one
    transcript repeat each other by nature.

    >>> kept(["tell me how it works", "Tell me how it works!", "something else altogether"], 0.7).count(None)
    2
    """
    join = _Join([grams(text) for text in texts], threshold)
    order = sorted(range(len(texts)), key=lambda i: (_digest(normalised(texts[i])), texts[i], i))
    verdict: list[int | None] = [None] * len(texts)
    for i in order:
        rivals = [j for j in join.similar(i) if owners is None or owners[j] != owners[i]]
        if rivals:
            verdict[i] = rivals[0]
        else:
            join.add(i)
    return verdict


def clusters(texts: Sequence[str], threshold: float) -> list[str]:
    """A cluster id for every text: connected components of near duplicates, named by the least hash among them.

    16 hex digits of sha256 over a normalised text, so a text that has no near duplicates keeps its id whatever
    else is in the list. A new text moves another one only by joining its component with a lesser hash.
    """
    unique = sorted({normalised(text) for text in texts}, key=lambda text: (_digest(text), text))
    join = _Join([grams(text) for text in unique], threshold)
    parent = list(range(len(unique)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i in range(len(unique)):
        for j in join.similar(i):
            a, b = root(i), root(j)
            # `unique` is in the order of the hashes: the lesser index is the lesser hash.
            parent[max(a, b)] = min(a, b)
        join.add(i)
    names = {text: _digest(unique[root(i)])[:16] for i, text in enumerate(unique)}
    return [names[normalised(text)] for text in texts]


def matched(texts: Sequence[str], against: Sequence[str], threshold: float) -> list[int | None]:
    """For every text the index of the first text of ``against`` that it holds or nearly repeats, or None.

    A text holds another one when at least ``threshold`` of the other's 3-grams stand in it: a benchmark question inside
    a longer message is still that question. Where the other has fewer than 4 grams ("tell me more about it"), holding
    it says nothing, and both texts together must be that similar.

    >>> matched(["Hey, quick one: what is the boiling point of water?"], ["What is the boiling point of water?"], 0.7)
    [0]
    """
    theirs = [grams(text) for text in against]
    index: dict[str, list[int]] = defaultdict(list)
    for i, set_ in enumerate(theirs):
        for gram in set_:
            index[gram].append(i)
    found: list[int | None] = []
    for text in texts:
        mine = grams(text)
        shared = Counter(i for gram in mine for i in index.get(gram, ()))
        hits = [
            i
            for i, n in shared.items()
            if n >= threshold * (len(theirs[i]) if len(theirs[i]) >= 4 else len(theirs[i] | mine)) - 1e-9
        ]
        found.append(min(hits, default=None))
    return found


class _Join:
    """Similarity join over fixed sets: ``add`` makes a set findable, ``similar`` lists the findable ones at or over t.

    With grams sorted rarest first, two sets of similarity t share a gram within their first |x| - ceil(t |x|) + 1.
    A gram that only one set holds comes first and can match nothing, so only its number is kept.
    """

    def __init__(self, sets: Sequence[Grams], threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], not {threshold}")
        self._threshold = threshold
        counts = Counter(chain.from_iterable(sets))
        common = sorted((gram for gram, n in counts.items() if n > 1), key=lambda gram: (counts[gram], gram))
        rank = {gram: i for i, gram in enumerate(common)}
        self._sizes = [len(grams_) for grams_ in sets]
        self._shared = [frozenset(rank[gram] for gram in grams_ if gram in rank) for grams_ in sets]
        self._index: dict[int, list[int]] = defaultdict(list)

    def _prefix(self, i: int) -> list[int]:
        size, shared = self._sizes[i], self._shared[i]
        length = size - _at_least(self._threshold * size) + 1 - (size - len(shared))
        return sorted(shared)[:length] if length > 0 else []

    def add(self, i: int) -> None:
        for rank in self._prefix(i):
            self._index[rank].append(i)

    def similar(self, i: int) -> list[int]:
        mine, size, t = self._shared[i], self._sizes[i], self._threshold
        candidates = {j for rank in self._prefix(i) for j in self._index.get(rank, ())}
        found = []
        for j in sorted(candidates):
            other = self._sizes[j]
            if min(size, other) < t * max(size, other) - 1e-9:
                continue
            common = len(mine & self._shared[j])
            if common >= t * (size + other - common) - 1e-9:
                found.append(j)
        return found


def _at_least(x: float) -> int:
    return math.ceil(x - 1e-9)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def shared_grams(texts: Iterable[str], n: int) -> Counter[str]:
    """How many texts hold each word n-gram; a text counts once for a gram that it repeats."""
    counts: Counter[str] = Counter()
    for text in texts:
        if len(normalised(text).split(" ")) >= n:
            counts.update(grams(text, n))
    return counts

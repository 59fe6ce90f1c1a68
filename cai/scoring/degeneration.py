"""Collapse, measured: does an answer end, does it repeat itself, is it about the task.

The definitions follow the project's evaluation notes: Welleck et al. 1908.04319 (seq-rep-n), Shaib et al. 2403.00553
(compression ratio), Bai et al. 2212.08073 (5-grams shared across prompts). ``degenerate`` is the union of four flags,
each of
which misses something that another sees: the seed paper's loop alternates two wordings, so that no exact loop is in it.
Nothing here is shared with the cleaner except where sentences end and which characters are one emoji.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex

from cai.scoring.statistics import Measure, mean, share
from cai.text.emoji import clusters
from cai.text.sentences import sentences, words

TAIL_SENTENCES = 8
TAIL_DUPLICATE_SHARE = 0.25
REP4_SHARE = 0.5
LOOP_SHARE = 0.2
LOOP_PERIODS = 3
LOOP_PERIOD_TOKENS = 80
EMOJI_TAIL_CHARACTERS = 200
EMOJI_TAIL_COUNT = 3
REPEATED_TIMES = 3
HORIZONS = (64, 128, 256, 512)
SHARED_NGRAM_PROMPTS = 10

# Longer than any word that people write: a run without spaces is then read character by character (CJK, "aaaa...").
_LONGEST_WORD = 32
_LONG = regex.compile(rf"[^\s]{{{_LONGEST_WORD + 1},}}")
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_UNITS = regex.compile(rf"{_UNSPACED.pattern}\p{{M}}*|(?:(?!{_UNSPACED.pattern})[\p{{L}}\p{{M}}\p{{N}}'])+")
# A rule or a form's blank is one sign drawn long, not a loop of many.
_RUN = regex.compile(r"[\p{L}\p{N}]|([^\p{L}\p{N}])\1{0,7}")
_FENCED = regex.compile(r"(?ms:^[ \t]*```.*?^[ \t]*```[ \t]*$)")
_VISIBLE = regex.compile(r"[^\s\p{Cf}\p{Cc}\u115f\u1160\u2800\u3164\ufe0e\ufe0f]")

_REPLY = r"(?:response|reply|answer|message|comment|statement|critique|revision)"
_CHANGED = (
    r"(?:revised|rewritten|improved|updated|modified|edited|rephrased|reworded|corrected|original|previous|initial)"
)
_OWNER = r"(?:the|this|that|my|your|its|an?|our|following)"
_WHICH = (
    r"(?:last|latest|above|first|second|final|whole|entire|given|provided|following|current|assistant|assistant['’]s"
    rf"|ai|ai['’]s|model|model['’]s|chat ?bot['’]s|{_CHANGED})"
)
_VERDICT = (
    r"(?:is|was|could|can|should|would|might|may|has|does|did|acknowledges|addresses|aims|appears|avoids|contains"
    r"|demonstrates|emphasizes|encourages|fails|focuses|highlights|ignores|implies|includes|lacks|maintains|offers"
    r"|promotes|provides|remains|seems|shows|suggests|tries|uses)"
)
_DEED = (
    r"(?:should|could|would|can|may|might|must|is|was|has|does|did|needs|aims|provides|provided|responds|responded"
    r"|says|said|seems|suggests|suggested|fails|failed|acknowledges|avoids|gave|gives)"
)
_META = regex.compile(
    "|".join(
        (
            # "the assistant's last response", "the AI's reply"
            rf"\b(?:assistant|chat ?bot|ai|ai model|language model)['’]s (?:\w+ ){{0,2}}{_REPLY}s?\b",
            rf"\b{_REPLY}s? (?:of|from|by|given by|provided by) the (?:assistant|chat ?bot|ai|model)\b",
            # "the revised response", "a rewritten version of"
            rf"\b{_OWNER} (?:\w+ )?{_CHANGED} {_REPLY}s?\b",
            rf"\b{_CHANGED} version of (?:the|my|your|this|that) (?:\w+ )?{_REPLY}\b",
            rf"(?m:^\W*{_CHANGED}(?: {_REPLY}| version)?\W*(?:$|:))",
            r"(?m:^\W*(?:critique|critique request|revision|revision request|assistant(?:'s|’s)? response)\W{0,3}:)",
            # "The response is harmful because": a verdict on a reply, which "the answer is 42" is not
            # (and which "the emergency response was quick" is not either)
            rf"\b(?:the|this|that|my|your) (?:{_WHICH} )?(?:response|reply) "
            rf"(?:(?:also|still|above|below|itself|provided|given|now) )?{_VERDICT}\b",
            rf"\bthe assistant (?:\w+ly )?{_DEED}\b",
            r"\bI(?:['’]ve| have| will|['’]ll|['’]d| would)? (?:\w+ )?"
            r"(?:revised?|rewrote|rewritten|rewrite|reworded|rephrased?) "
            rf"(?:the|my|your|this|that|its) (?:\w+ )?{_REPLY}\b",
            r"\bto (?:revise|rewrite|improve|rephrase|critique) "
            rf"(?:the|my|your|this|that) (?:\w+ ){{0,2}}{_REPLY}\b",
            r"\bhere(?:['’]s| is| are) (?:the|a|an|my|your|one) (?:\w+ )?"
            rf"(?:{_CHANGED}|possible|better|safer) (?:{_REPLY}|version|text)\b",
        )
    ),
    regex.IGNORECASE,
)
_META_HINT = regex.compile(
    r"respon|repl|answer|assistant|critique|revis|version|rewrit|comment|statement", regex.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Flags:
    """What one text shows. ``eos_fail`` is None where nobody recorded how the text ended."""

    n_words: int
    empty: bool
    eos_fail: bool | None
    tail_dup: bool
    rep4: bool
    tail_loop: bool
    emoji_tail: bool
    repeated_sentence: bool
    meta_talk: bool
    tail_dup_share: float
    rep4_share: float
    tail_loop_share: float
    closing: str

    @property
    def degenerate(self) -> bool:
        """Whether any of tail_dup, rep4, tail_loop and emoji_tail holds; eos_fail stands beside it."""
        return self.tail_dup or self.rep4 or self.tail_loop or self.emoji_tail


def flags(text: str, finish_reason: str | None = None) -> Flags:
    """The flags of one text.

    >>> loop = "If you have questions, ask me. Bye for now! "
    >>> found = flags("Stay safe. " + loop * 2)
    >>> found.tail_dup, found.degenerate, flags("I can't help with that.").degenerate
    (True, True, False)
    """
    empty = is_empty(text)
    if empty:  # what nobody sees says nothing, and so repeats nothing
        text = ""
    keys, units = _keys_and_units(text)
    tail = [key for key, n in keys if n >= 3][-TAIL_SENTENCES:]
    tail_dup = 1 - len(set(tail)) / len(tail) if tail else 0.0
    rep4 = repeated_ngram_share(units, 4)
    loop = loop_share(pieces(text))
    # Lines of fenced code repeat by nature ("else:"); a loop inside code still shows as rep4 and tail_loop.
    said = keys if "```" not in text else _keys_and_units(_FENCED.sub("\n", text))[0]
    counts = Counter(key for key, _ in said if key)
    ended = None if finish_reason not in ("stop", "length") else finish_reason == "length"
    return Flags(
        n_words=len(text.split()),
        empty=empty,
        eos_fail=ended,
        tail_dup=tail_dup >= TAIL_DUPLICATE_SHARE,
        rep4=rep4 > REP4_SHARE,
        tail_loop=loop > LOOP_SHARE,
        emoji_tail=has_emoji_tail(text),
        repeated_sentence=bool(counts) and max(counts.values()) >= REPEATED_TIMES,
        meta_talk=is_meta_talk(text),
        tail_dup_share=tail_dup,
        rep4_share=rep4,
        tail_loop_share=loop,
        closing=next((key for key, n in reversed(keys) if n), ""),
    )


def is_empty(text: str) -> bool:
    """Whether a text shows nothing: white space and invisible characters only."""
    return _VISIBLE.search(text) is None


def is_meta_talk(text: str) -> bool:
    """Whether a text talks about a response, its revision or "the assistant" instead of being one.

    >>> is_meta_talk("The assistant's last response is harmful."), is_meta_talk("The answer is 42.")
    (True, False)
    """
    return _META_HINT.search(text) is not None and _META.search(text) is not None


def repeated_ngram_share(units: Sequence[object], n: int) -> float:
    """Seq-rep-n: 1 - distinct n-grams / n-grams, of words or token ids; 0 where there is no n-gram.

    >>> repeated_ngram_share("a b c d a b c d".split(), 4)
    0.19999999999999996
    """
    total = len(units) - n + 1
    if total <= 0:
        return 0.0
    return 1 - len(set(zip(*(units[i:] for i in range(n)), strict=False))) / total


def pieces(text: str) -> list[str]:
    """The white-space pieces of a text, as written; where it has no spaces, its characters.

    >>> pieces("Bye! :)"), len(pieces("哈" * 40)), len(pieces("_" * 40))
    (['Bye!', ':)'], 40, 5)
    """
    found = text.split()
    if _LONG.search(text) is None:
        return found
    return [unit for piece in found for unit in ([piece] if len(piece) <= _LONGEST_WORD else _runs(piece))]


def _runs(piece: str) -> list[str]:
    return [match.group() for match in _RUN.finditer(piece)]


def loop_share(units: Sequence[object]) -> float:
    """The share of a sequence taken by its longest exactly periodic suffix (at least 3 periods of at most 80 units).

    >>> loop_share("so well loaded loaded loaded loaded".split())
    0.6666666666666666
    """
    n = len(units)
    best = 0
    covered: list[tuple[int, int]] = []
    for period in range(1, min(LOOP_PERIOD_TOKENS, n // LOOP_PERIODS) + 1):
        # A period that is a multiple of a shorter one, inside the stretch which that one covers, covers the same
        # stretch.
        if any(period % shorter == 0 and length >= period for shorter, length in covered):
            continue
        same, at = 0, n - 1
        while at - period >= 0 and units[at] == units[at - period]:
            same += 1
            at -= 1
        length = same + period
        if length >= LOOP_PERIODS * period:
            best = max(best, length)
            covered.append((period, length))
    return best / n if n else 0.0


def has_emoji_tail(text: str) -> bool:
    """Whether the last 200 characters hold the same emoji or emoticon three times or more."""
    # A cluster may begin before the window; the longest (a family with skin tones) has fewer than 40 characters.
    start = max(0, len(text) - EMOJI_TAIL_CHARACTERS)
    lead = max(0, start - 40)
    # ":**" ends a bold label in Markdown and is no kiss.
    found = Counter(
        form
        for at, end, form in clusters(text[lead:])
        if at + lead >= start and text[lead + end : lead + end + 1] != "*"
    )
    return bool(found) and max(found.values()) >= EMOJI_TAIL_COUNT


def _keys_and_units(text: str) -> tuple[list[tuple[str, int]], list[str]]:
    """(key, number of words) of each sentence, and the words of the whole text; one pass over it."""
    spaced = text.isascii() or _UNSPACED.search(text) is None
    keys: list[tuple[str, int]] = []
    units: list[str] = []
    for sentence in sentences(text):
        found = words(sentence)
        key = " ".join(found)
        if not spaced:
            found = [unit for word in found for unit in _UNITS.findall(word)]
        elif len(key) > _LONGEST_WORD and _LONG.search(key) is not None:
            found = [unit for word in found for unit in ([word] if len(word) <= _LONGEST_WORD else word)]
        keys.append((key, len(found)))
        units.extend(found)
    return keys, units


def kind_of_degeneration(text: str, found: Flags | None = None) -> str:
    """ "clean", "degenerate_tail" or "wholly_degenerate" or "empty": how much of an answer is lost.

    Wholly: its first half is degenerate by itself, or the loop takes four fifths of it.
    """
    found = flags(text) if found is None else found
    if found.empty:
        return "empty"
    if not found.degenerate:
        return "clean"
    parts = regex.split(r"(\s+)", text)
    head = "".join(parts[: 2 * (((len(parts) + 1) // 2) // 2)])
    if found.tail_loop_share > 0.8 or flags(head).degenerate:
        return "wholly_degenerate"
    return "degenerate_tail"


# --- sets of texts ----------------------------------------------------------------------------------------------------


def closing_share(found: Iterable[Flags]) -> Measure:
    """The share of texts, empty ones included, whose last sentence with a word in it is the most common one."""
    closings = [one.closing for one in found]
    if not closings:
        return Measure.missing("no row to measure")
    named = Counter(closing for closing in closings if closing)
    most = max(named.values(), default=0)
    return Measure(most / len(closings), len(closings), unit="share", method="most common last sentence")


def compression_ratio(texts: Iterable[str]) -> Measure:
    """Bytes over deflated bytes of all texts together: higher is more redundant. Depends on n: compare equal n only."""
    packer = zlib.compressobj(6)
    plain = packed = n = 0
    for text in texts:
        data = (text + "\n").encode("utf-8", "surrogatepass")
        plain += len(data)
        packed += len(packer.compress(data))
        n += 1
    packed += len(packer.flush())
    if plain <= n:
        return Measure.missing("no text that is not empty", n=n, unit="ratio")
    return Measure(plain / packed, n, unit="ratio", method="zlib level 6")


def shared_ngram_share(
    texts: Sequence[str], prompts: Sequence[object], *, n: int = 5, min_prompts: int = SHARED_NGRAM_PROMPTS
) -> Measure:
    """The share of texts that hold an n-word sequence found under at least ``min_prompts`` different prompts.

    Anthropic's own RL-CAI samples: 93 %, their human-feedback model 13 % (17 answers a prompt). Missing where there are
    fewer than twice that many prompts, since the share then says nothing.
    """
    if len(texts) != len(prompts):
        raise ValueError(f"{len(texts)} texts but {len(prompts)} prompts")
    order: dict[object, list[int]] = {}
    for row, prompt in enumerate(prompts):
        order.setdefault(prompt, []).append(row)
    if len(order) < 2 * min_prompts:
        return Measure.missing(f"{len(order)} prompts; at least {2 * min_prompts} are needed", n=len(texts))
    vocabulary: dict[str, int] = {}

    def grams(row: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        ids = np.array([vocabulary.setdefault(w, len(vocabulary) + 1) for w in words(texts[row])], dtype=np.uint64)
        if len(ids) < n:
            return np.empty(0, dtype=np.uint64)
        code = np.zeros(len(ids) - n + 1, dtype=np.uint64)
        for shift in range(n):
            code = (code ^ ids[shift : shift + len(code)]) * np.uint64(0x9E3779B97F4A7C15)
            code ^= code >> np.uint64(29)
        return np.unique(code)

    # First a sketch that may count too high, then exact counts of the few sequences that pass it: memory stays bounded.
    buckets = np.uint64((1 << 24) - 1)
    sketch = np.zeros(1 << 24, dtype=np.uint32)
    for rows in order.values():
        mine = np.unique(np.concatenate([grams(row) for row in rows]))
        sketch[np.unique(mine & buckets)] += 1
    counts: Counter[int] = Counter()
    kept: list[np.ndarray[Any, np.dtype[np.uint64]]] = [np.empty(0, dtype=np.uint64)] * len(texts)
    for rows in order.values():
        for row in rows:
            codes = grams(row)
            kept[row] = codes[sketch[codes & buckets] >= min_prompts]
        counts.update(np.unique(np.concatenate([kept[row] for row in rows])).tolist())
    common = {code for code, times in counts.items() if times >= min_prompts}
    result = share(any(code in common for code in codes.tolist()) for codes in kept)
    return _with(result, horizon=f"{n}-word sequences under at least {min_prompts} of {len(order)} prompts")


def _with(measure: Measure, *, horizon: str | None) -> Measure:
    return Measure(
        measure.value,
        measure.n,
        measure.n_missing,
        measure.interval,
        measure.unit,
        measure.method,
        horizon,
        measure.detectable,
        measure.reason,
        measure.level,
    )


FLAG_MEASURES = (
    "degenerate",
    "repeated_sentence",
    "meta_talk",
    "tail_dup",
    "rep4",
    "tail_loop",
    "emoji_tail",
    "empty",
    "eos_fail",
)


def measures(
    found: Sequence[Flags | None], *, clusters_of: Sequence[object] | None = None, horizon: str | None = None
) -> dict[str, Measure]:
    """One measure a flag, plus closing_share and mean_words; None stands for a text that is missing.

    With ``clusters_of`` (the prompt of each row) shares are means over prompts with bootstrap intervals, as rows of
    one prompt
    are not independent; without it rows count and intervals are Wilson's.
    """
    result: dict[str, Measure] = {}
    for name in FLAG_MEASURES:
        values = [None if one is None else getattr(one, name) for one in found]
        if name == "eos_fail" and found and all(value is None for value in values):
            reason = "no row says how it ended (finish_reason)"
            result["eos_fail_share"] = Measure.missing(reason, n_missing=len(found), horizon=horizon)
        elif clusters_of is None or len(set(clusters_of)) == len(clusters_of):
            result[f"{name}_share"] = share(values, horizon=horizon)
        else:
            numbers = [None if value is None else float(value) for value in values]
            result[f"{name}_share"] = mean(numbers, clusters_of, unit="share", horizon=horizon)
    known = [one for one in found if one is not None]
    result["closing_share"] = _with(closing_share(known), horizon=horizon)
    lengths = [None if one is None else float(one.n_words) for one in found]
    if len(lengths) > 20_000:  # the interval of a mean this firm is not worth a bootstrap
        numbers_known = [value for value in lengths if value is not None]
        total = sum(numbers_known)
        result["mean_words"] = (
            Measure(
                total / len(numbers_known),
                len(numbers_known),
                len(lengths) - len(numbers_known),
                None,
                "words",
                "mean",
                horizon,
            )
            if numbers_known
            else Measure.missing("no row to measure", n_missing=len(lengths), unit="words")
        )
    else:
        result["mean_words"] = mean(lengths, clusters_of, unit="words", horizon=horizon)
    return result


def degeneration_report(rows: Iterable[Mapping[str, Any]], text_key: str = "text") -> dict[str, float | int | None]:
    """The flat measures of a file of answers, as ``cai degeneration`` prints them.

    ``n`` rows have a text, and every share but eos_fail_share is of these; rows with null instead are left out, and
    the command says how many on stderr. Every share is null when n is 0, eos_fail_share also unless rows have
    ``finish_reason`` ("stop" or "length").

    Raises:
        KeyError: a row has no ``text_key`` at all.
        TypeError: its value is neither text nor null.
    """
    found: list[Flags | None] = []
    for place, row in enumerate(rows, start=1):
        if text_key not in row:
            raise KeyError(f"row {place} has no {text_key!r}; it has {', '.join(sorted(map(str, row)))}")
        text = row[text_key]
        if text is not None and not isinstance(text, str):
            raise TypeError(f"row {place}: {text_key!r} is {type(text).__name__}, expected text or null")
        found.append(None if text is None else flags(text, row.get("finish_reason")))
    taken = measures(found)
    n = sum(one is not None for one in found)
    names = (
        "degenerate_share",
        "repeated_sentence_share",
        "meta_talk_share",
        "tail_dup_share",
        "rep4_share",
        "tail_loop_share",
        "emoji_tail_share",
        "closing_share",
        "empty_share",
        "mean_words",
        "eos_fail_share",
    )
    return {"n": n, **{name: taken[name].value for name in names}}


# --- fixed horizons ---------------------------------------------------------------------------------------------------

Decode = Callable[[Sequence[int]], str]


def at_horizons(
    rows: Sequence[Mapping[str, Any]],
    *,
    decode: Decode | None,
    budget_tokens: int,
    horizons: Sequence[int] = HORIZONS,
    text_key: str = "response",
    whole: Sequence[Flags | None] | None = None,
) -> dict[str, dict[str, dict[str, Measure]]]:
    """{horizon: {"all" | "stop" | "length": measures}} over the first tokens of answers drawn with one large budget.

    Horizons are "first_64_tokens" and so on, and "whole". A horizon beyond the budget, or without token ids and a
    decoder, has
    measures that are missing with their reason. "stop" and "length" split by how the whole answer ended, never by how
    the cut one
    did. Answers shorter than a horizon count with all they have. Rows: ``text_key``, token_ids, finish_reason[,
    prompt_id].
    """
    result: dict[str, dict[str, dict[str, Measure]]] = {}
    names = [row.get("prompt_id", i) for i, row in enumerate(rows)]
    for horizon in (*horizons, None):
        label = "whole" if horizon is None else f"first_{horizon}_tokens"
        words_for = f"whole answer, budget {budget_tokens} tokens" if horizon is None else f"first {horizon} tokens"
        reason = None
        if horizon is not None:
            if horizon > budget_tokens:
                reason = f"answers were drawn with a budget of {budget_tokens} tokens"
            elif decode is None or all(row.get("token_ids") is None for row in rows):
                reason = "the backend gave no token ids, so the answer cannot be cut at a token"
        found = [None] * len(rows) if reason else list(_cut_flags(rows, horizon, decode, text_key, whole))
        result[label] = {}
        for part in ("all", "stop", "length"):
            index = [i for i, row in enumerate(rows) if part == "all" or row.get("finish_reason") == part]
            if reason is not None:
                taken = {
                    name: Measure.missing(reason, n_missing=len(index), horizon=words_for)
                    for name in (*(f"{flag}_share" for flag in FLAG_MEASURES), "closing_share", "mean_words")
                }
            else:
                taken = measures(
                    [found[i] for i in index], clusters_of=[names[i] for i in index], horizon=f"{words_for}, {part}"
                )
                if horizon is None or part == "all":
                    ids = [rows[i].get("token_ids") for i in index]
                    taken["seq_rep_4_tokens"] = _token_repetition(ids, horizon, [names[i] for i in index], words_for)
            result[label][part] = taken
    return result


def _cut_flags(
    rows: Sequence[Mapping[str, Any]],
    horizon: int | None,
    decode: Decode | None,
    text_key: str,
    whole: Sequence[Flags | None] | None,
) -> Iterator[Flags | None]:
    for place, row in enumerate(rows):
        text: str | None = row[text_key]
        ids: Sequence[int] | None = row.get("token_ids")
        if text is None or (horizon is not None and (ids is None or decode is None)):
            yield None
        elif horizon is None or ids is None or decode is None or len(ids) <= horizon:
            known = None if whole is None else whole[place]
            yield known or flags(text, row.get("finish_reason"))
        else:
            # Cut here, not by the budget: whether it stopped within the horizon is known, and it did not.
            yield flags(decode(list(ids[:horizon])).rstrip("\ufffd"), "length")


def _token_repetition(
    ids: Sequence[Sequence[int] | None], horizon: int | None, names: Sequence[object], words_for: str
) -> Measure:
    values = [None if one is None else repeated_ngram_share(list(one)[:horizon], 4) for one in ids]
    return mean(values, names, unit="share", horizon=words_for)

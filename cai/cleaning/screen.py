"""The cheap look at a text that tells which rules could have anything to do: most good rows pass with none.

A screen may let a rule run for nothing; it must not keep one from a text that the rule would change (tested against
the rules without it).
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re
from operator import eq

from cai.cleaning.rules.closings import COURTESY
from cai.cleaning.view import Row

EVERYTHING = frozenset({"odd", "tag", "lead", "face", "repeat", "courtesy", "talk", "tail", "copy"})
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
    "strange_tail": "odd",
    "remains": "repeat",
}
"""What each rule needs to see before it runs."""
AFTER_EDIT = frozenset({"repeat"})
MARKING = frozenset({"strange_tail"})
"""Rules that make nothing but marks, which nobody but the editor reads."""

_ODD = re.compile(r"[^\t\n\x20-\x7e‘’“”–—…]")
_SOUP = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}|[a-z]\d[a-z]?\d", re.I)
_PARTS = re.compile(r"[.!?…\n]+[\"'”’)*_]*\s*")
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
)
_TALKS = (
    "response", "reply", "replies", "revis", "rewri", "re-wr", "critique", "rephras", "re-ph", "reword", "rework",
    "reformul", "toned", "sanitiz", "paraphr", "assistant", "chatbot", "ai model", "ai system", "the human", "this human",
    "a human", "the user", "this user", "a user", "original ", "previous ", "prior ", "preceding ", "initial ", "earlier ",
    "this answer", "changes", "removed", "replaced", "changed", "simplified", "reframed", "kept", "adjusted", "modified",
    "harmful, ", "racist, sexist", "unethical, ", "adjustment", "modification", "improvement", "edits", "added ", "antwort", "respuesta",
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
_LAST_WORDS = 95
"""Three closings of 30 words each, the longest that `closings.is_closing` takes."""
_BLANKED = str.maketrans(dict.fromkeys('"!#$%&()*+,-./:;<=>?@[\\]^_`{|}~‘“”–—…', " ") | {"'": None, "’": None})
"""Signs as `View.tokens` takes them: an apostrophe stands inside a word, all others between two."""
_TAGGED = (
    "draft answer",
    "wrong with it",
    "task",
    "user",
    "human",
    "assistant",
    "asistente",
    "assistent",
    "ai",
    "gpt",
    "bot",
    "claude",
    "llama",
    "usuario",
    "utilisateur",
    "benutzer",
    "system",
    "question",
    "instruction",
    "input",
    "prompt",
    "response",
    "answer",
    "output",
    "customer",
    "client",
    "person",
    "you",
    "model",
)


def suspicions(text: str, row: Row, *, marks: bool = True) -> frozenset[str]:
    """Which of `EVERYTHING` the text gives reason for."""
    low = text.lower()
    odd = _ODD.search(text) is not None
    if odd and not text.isascii() and re.search(r"[\u0900-\uabff\uac00-\ud7ff\uf900-\ufaff]", text):
        return EVERYTHING  # scripts that the ASCII screens know nothing of
    found = set()
    if odd or _SOUP.search(text, max(0, len(text) - 160)):
        found.add("odd")
    if odd or "<" in text or "[" in text or "##" in text or _tagged(low):
        found.add("tag")
    head = low[:420]
    if odd or _any_in(_LEADS, head):
        found.add("lead")
    if (
        odd
        or sum(map(text.count, (":", ";", "=", "^", "_", "XD", "xD", "xd", "Xd", "<3", "QQ", ">.", "T.T", "</3"))) >= 3
    ):
        found.add("face")
    if odd or _any_in(_TALKS, low) or (marks and _any_in(_MARKED_TALKS, low)):
        found.add("talk")
    end = text.rstrip()[-1:]
    if row.finish_reason == "length":
        last = low.rstrip()[-8:]
        if (
            odd
            or end not in (".", "!", "?")
            or any(map(str.isdigit, last))
            or " " not in last.strip()[-4:-1] + "x"
            or text.rfind("\n#") >= 0
            or len(last.split()[-1:] and last.split()[-1]) <= 4
        ):
            found.add("tail")
    elif row.finish_reason is None and (odd or end not in (".", "!", "?")):
        found.add("tail")
    if row.response is not None or row.critique is not None:
        found.add("copy")
    words = low.translate(_BLANKED).split()
    if sum(map(COURTESY.__contains__, words[-_LAST_WORDS:])) >= 3:
        found.add("courtesy")
    if _repeats(text, low, words):
        found.add("repeat")
    return frozenset(found)


def _any_in(stems: tuple[str, ...], low: str) -> bool:
    return any(map(low.__contains__, stems))


def _tagged(low: str) -> bool:
    place = low.find(":")
    while place >= 0:
        before = low[max(0, place - 14) : place].rstrip(" \t\n*_])0123456789")
        if before.endswith(_TAGGED):
            return True
        place = low.find(":", place + 1)
    return "：" in low


def _repeats(text: str, low: str, words: list[str]) -> bool:
    if len(words) < 3 or "''" in low:
        return True
    if any(map(eq, words, words[1:])):
        return True
    parts = list(filter(None, _PARTS.split(low)))
    if len(set(parts)) < len(parts):
        return True
    n_grams = max(0, len(words) - 3)
    if n_grams - len(set(zip(words, words[1:], words[2:], words[3:], strict=False))) >= 3:
        return True
    tail = text.rstrip()[-7:]
    if text.find(tail, max(0, len(text) - 200), len(text) - len(tail)) >= 0:
        return True
    # one unbroken run of signs, or a word that is one
    return max(map(len, low.split())) > 30

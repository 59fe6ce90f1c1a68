"""Yes or no questions about a finished text, which a gate asks and the cleaner guarantees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from cai.text.faces import surplus
from cai.text.meta import preamble_end
from cai.text.regions import Region, protects, regions, touches
from cai.text.roles import tags
from cai.text.sentences import key, size, spans

_CODE = frozenset({"code", "quote"})


def has_role_tag(text: str) -> bool:
    """Whether a role tag or a template token stands outside code and quotes.

    >>> has_role_tag("Sure.<|im_end|>"), has_role_tag("Use `<|im_end|>` to stop.")
    (True, False)
    """
    return bool(role_tags(text))


def role_tags(text: str, found: Callable[[], list[Region]] | None = None) -> list[tuple[int, int, str]]:
    """Every role tag and template token outside code and quotes, as `cai.text.roles.tags` gives them; ``found`` tells
    the regions of the text, where someone knows them.
    """
    leaked = tags(text)
    if not leaked:
        return []
    inside = regions(text) if found is None else found()
    outside = [tag for tag in leaked if not touches(inside, tag[0], tag[1], _CODE)]
    if (
        len(outside) == 1
        and outside[0][2] == "user"
        and text[outside[0][0]] not in "<[#{"
        and not text[: outside[0][0]].strip(" \t\n\r*_")
    ):
        return []  # an answer filed under the human's name: HH-RLHF has such turns, and the words are an answer
    return outside


def has_preamble(text: str) -> bool:
    """Whether the text opens with a removable lead-in such as "Here's a revised version:"."""
    return preamble_end(text) > 0


def emoji_run(text: str) -> bool:
    """Whether emoji or emoticons run on: `cai.text.faces.surplus` would remove some."""
    return bool(surplus(text, regions(text) if "`" in text or "|" in text or "\t" in text else []))


def max_sentence_count_outside_protected(text: str) -> int:
    """How often the most frequent sentence is said outside code, tables, list items, quotes, verse and labels.

    Sentences of one or two words ("No!") count only where they follow each other, and three in a row count as two: said
    with emphasis, not in a loop.
    """
    pieces = spans(text)
    found = regions(text)
    counts: Counter[str] = Counter()
    most = run = 0
    previous = ""
    for start, end in pieces:
        words = key(text[start:end])
        if not words or protects(found, start, end):
            previous = ""
            continue
        if size(words) >= 3:
            counts[words] += 1
            most = max(most, counts[words])
        else:
            run = run + 1 if words == previous else 1
            most = max(most, run - 1 if run > 2 else run)
        previous = words
    return most

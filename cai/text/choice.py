"""Which option a judge's free-text reply names, or why none."""

import re

_ANSWER = re.compile(r"answer\s*(?:is)?\s*:?\s*\(?\s*([AB])\b\)?", re.IGNORECASE)
_BARE = re.compile(r"^\W*\(?([AB])\)?\W*$")
_REFUSAL = re.compile(r"\b(?:can(?:no|')t|won't|unable to|refuse|decline|neither)\b", re.IGNORECASE)


def choice(reply: str) -> tuple[str | None, str | None]:
    """(label, None), or (None, reason): "refused", "unparsed". Unparsed is never a class.

    Anchored and last-match: a judge that thinks aloud names its verdict at the end, and quotes come before it.

    >>> choice("First (A) seemed fine. The answer is: (B)")
    ('B', None)
    >>> choice("A good question.")
    (None, 'unparsed')
    """
    stripped = reply.strip()
    bare = _BARE.match(stripped)
    if bare:
        return bare.group(1).upper(), None
    named = _ANSWER.findall(stripped)
    if named:
        return named[-1].upper(), None
    last = stripped.splitlines()[-1] if stripped else ""
    bare = _BARE.match(last)
    if bare:
        return bare.group(1).upper(), None
    return None, "refused" if _REFUSAL.search(stripped) else "unparsed"

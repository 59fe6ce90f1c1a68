"""Which option a judge's free-text reply names, or why none."""

import re

_WORD = r"(?:answer|verdict|choice)"
_MARKS = r"[\s*_`\"']*"
# "(B)" may be followed by anything but the other option; a bare "B" only by the end of its sentence.
_LABEL = r"(?:\(\s*([AB])\s*\)(?!\s*(?:or|and|/|,)\s*\(?[AB]\b)|([AB])(?=[*_`\"']*(?:[.,;:!]|\s*$)))"
_NAMED = re.compile(rf"\b{_WORD}\b{_MARKS}(?:is\b|:){_MARKS}:?{_MARKS}{_LABEL}", re.IGNORECASE | re.MULTILINE)
_BARE = re.compile(
    rf"^{_MARKS}(?:(?:[Oo]ption|[Aa]nswer)\s+)?(?:\(\s*([AB])\s*\)|([AB])\)?){_MARKS}[.:!]?{_MARKS}$", re.MULTILINE
)
_BECAUSE = re.compile(r"\A\s*\(\s*([AB])\s*\)\s*(?:because\b|since\b|as\b|[-\u2013\u2014])")
# What a judge quotes is not what it says; a quoted label alone ('the answer is "B"') is.
_QUOTED = re.compile(
    r"\"[^\"\n]{6,}\"|“[^”]{6,}”|«[^»]{6,}»|^[ \t]*>[^\n]*$|^([=`]{3,})[^\n]*\n.*?^\1", re.MULTILINE | re.DOTALL
)
_REFUSAL = re.compile(r"\b(?:can(?:no|')t|can\u2019t|won't|unable to|refuse|decline|neither)\b", re.IGNORECASE)


def choice(reply: str) -> tuple[str | None, str | None]:
    """(label, None), or (None, reason): "refused", "unparsed". Unparsed is never a class.

    Anchored: a label stands behind "answer", "verdict" or "choice", or alone on its line; a letter in running text is
    none. Last match: a judge that thinks aloud names its verdict at the end. What it quotes does not count.

    >>> choice("First (A) seemed fine. The answer is: (B)")
    ('B', None)
    >>> choice("A good question."), choice("An answer a child could give.")
    ((None, 'unparsed'), (None, 'unparsed'))
    """
    said = _QUOTED.sub(" ", reply)
    found = [(match.start(), match) for pattern in (_BECAUSE, _NAMED, _BARE) for match in pattern.finditer(said)]
    if found:
        last = max(found, key=lambda one: one[0])[1]
        return next(label for label in last.groups() if label).upper(), None
    return None, "refused" if _REFUSAL.search(reply) else "unparsed"

"""Emoji and emoticons that are too many: which clusters of a text a run or a tail could do without."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import regex

from cai.text.emoji import clusters
from cai.text.regions import Region, touches

_GAP = regex.compile(r"[\s.,!?…~;:*_\u200b\u200d\ufe0f\u2060-]*\Z")
_STARS = frozenset("★☆⭐🌟✭✮✰")
_SHAPES = frozenset("⬛⬜◼◻◾◽▪▫🔲🔳⚫⚪🔴🔵🟠🟡🟢🟣🟤🟥🟦🟧🟨🟩🟪🟫🔶🔷🔸🔹")
"""What bars of progress and little boards are drawn with."""
BAR = 12
_STRETCHED = regex.compile(r"([)(DdPp\]\[|])\1{7,}\Z")
MOUTH = 8
"""Signs of a stretched mouth."""
SHOWN = 5
_COUNTED = {"three": 3, "four": 4, "five": 5, "3": 3, "4": 4, "5": 5}
_TICKS = frozenset("✅❌✔✖☑✓✗❎")
_KEPT = frozenset({"code", "table"})
_BULLET = regex.compile(r"^[ \t>]*(?:[-*•]|\d+[.)])?[ \t]*$")
TAIL = 200
TAIL_COUNT = 3
RUN = 3
MIXED_RUN = 5


def surplus(text: str, found: list[Region], faces: list[tuple[int, int, str]] | None = None) -> list[tuple[int, int]]:
    """(start, end) of everything that goes so that no face stands three times in a row, no mixed run is longer than
    three at the end, and no face closes sentence after sentence at the end. Star ratings, drawings and bullets stay.
    ``faces`` are the text's `clusters`, where they are known.

    >>> text = "Take care! 😊😊😊😊"
    >>> surplus(text, [])
    [(12, 15)]
    """
    faces = clusters(text) if faces is None else faces
    if found:
        faces = [face for face in faces if not touches(found, face[0], face[1], _KEPT)]
    stretched = [
        match for start, end, _ in faces if end - start >= MOUTH and (match := _STRETCHED.search(text[:end], start))
    ]
    if stretched:
        return [(match.start() + 1, match.end()) for match in stretched]
    if len(faces) < RUN:
        return []
    drawn = _drawing_lines(text, faces)
    gone: list[tuple[int, int]] = []
    run: list[tuple[int, int, str]] = []
    for face in [*faces, (len(text) + 9, len(text) + 9, "")]:
        if run and (face[0] > len(text) or not _GAP.match(text[run[-1][1] : face[0]])):
            if not any(start <= run[0][0] < end for start, end in drawn):
                gone.extend(_run(text, run))
            run = []
        run.append(face)
    if not gone and len(faces) >= TAIL_COUNT:
        gone.extend(_tail(text, [face for face in faces if not any(start <= face[0] < end for start, end in drawn)]))
    return gone


def _run(text: str, run: list[tuple[int, int, str]]) -> list[tuple[int, int]]:
    if len(run) < RUN:
        return []
    forms = [form for _, _, form in run]
    before = text[: run[0][0]].rstrip()
    bar = len(run) <= BAR and set(forms) <= _SHAPES
    if (len(run) <= 5 and set(forms) <= _STARS) or (
        bar and (len(set(forms)) > 1 or len(run) <= SHOWN or not before.endswith((".", "!", "?")))
    ):
        return []
    if before.endswith(":") and (len(run) <= SHOWN or len(set(forms)) == len(run) <= BAR):
        return []  # shown, not smiled: "Three hearts mean love: ..."
    if any(_COUNTED.get(word) == len(run) for word in before[-24:].casefold().split()):
        return []  # "three claps 👏👏👏"
    if _each_begins_a_line(text, run):
        return []
    counts = Counter(forms)
    at_end = not text[run[-1][1] :].strip(" \t\n\r.!?,…~*_\"'”’)")
    looping = max(counts.values()) >= RUN
    crowded = len(run) >= MIXED_RUN and (at_end or len(run) >= 8 or len(counts) < len(run) - 1)
    if not looping and not crowded:
        return []
    keep: list[int] = []
    for place, form in enumerate(forms):
        if form not in (forms[kept] for kept in keep) and len(keep) < (3 if crowded and not looping else 2):
            keep.append(place)
    return _between(text, run, keep)


def _between(text: str, run: list[tuple[int, int, str]], keep: list[int]) -> list[tuple[int, int]]:
    """The spans of the clusters that go, each with the gap before it."""
    gone: list[tuple[int, int]] = []
    for place, (start, end, _) in enumerate(run):
        if place in keep:
            continue
        begin = run[place - 1][1] if place else start
        if gone and gone[-1][1] == begin:
            gone[-1] = (gone[-1][0], end)
        else:
            gone.append((begin, end))
    return gone


def _tail(text: str, faces: list[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """The third and later of one face within the last characters, where it stands behind sentences."""
    length = len(text.rstrip())
    near = [face for face in faces if face[0] >= length - TAIL]
    gone = []
    for form, count in Counter(form for _, _, form in near).items():
        if count < TAIL_COUNT or form in _STARS - {"🌟"}:
            continue
        if form in _TICKS and not any(
            text[start - 1 : start].strip() or not text[end:].strip() for start, end, _ in near
        ):
            continue  # before what they tick off
        same = [face for face in near if face[2] == form and _closes(text, *face[:2])]
        if len(same) < TAIL_COUNT:
            continue
        if sum(_begins_line(text, start) for start, _, _ in same) * 2 >= len(same):
            continue
        for start, end, _ in same[2:]:
            if _begins_line(text, start):
                continue
            begin = start
            while begin and text[begin - 1] in " \t":
                begin -= 1
            if begin and text[begin - 1] == "\n":
                begin = start
            gone.append((begin, end))
    return sorted(gone)


def _closes(text: str, start: int, end: int) -> bool:
    """Whether a face stands where a sentence ends, and not for a thing within one ("🍎 + 🍎 = 2")."""
    behind = text[end:].lstrip(" \t.!?…*_)\"'”’")
    if not behind or behind[0] == "\n" or text[:start].rstrip()[-1:] in (*".!?…。！？؟।", ""):
        return True
    return behind[0].isalpha() and not behind[0].islower()


def _begins_line(text: str, start: int) -> bool:
    """Whether the face at start is a bullet: nothing but a marker before it on its line, and words behind it."""
    line_end = text.find("\n", start)
    rest = text[start : len(text) if line_end < 0 else line_end]
    return _BULLET.match(text[text.rfind("\n", 0, start) + 1 : start]) is not None and any(map(str.isalnum, rest))


def _each_begins_a_line(text: str, run: list[tuple[int, int, str]]) -> bool:
    return (
        False
        if len(run) < 2
        else all(_begins_line(text, start) for start, _, _ in run) and text[run[-1][1] :].strip() != ""
    )


def _drawing_lines(text: str, faces: list[tuple[int, int, str]]) -> list[tuple[int, int]]:
    """Lines of pictures of one width above each other: boards and grids."""
    if "\n" not in text:
        return []
    lines: list[tuple[int, int, int, int]] = []
    position = 0
    place = 0
    for line in text.split("\n"):
        end = position + len(line)
        first = place
        while place < len(faces) and faces[place][0] < end:
            place += 1
        inside = faces[first:place]
        width = sum(b - a for a, b, _ in inside)
        lines.append(
            (
                position,
                end,
                len(inside) if len(inside) >= 3 and width >= len(line.replace(" ", "")) * 0.8 else 0,
                len({f for _, _, f in inside}),
            )
        )
        position = end + 1
    drawn = []
    for above, below in pairwise(lines):
        if above[2] and above[2] == below[2] and (above[3] > 1 or below[3] > 1):
            drawn.extend([above[:2], below[:2]])
    return drawn

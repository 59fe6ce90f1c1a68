"""Regions of a text whose repetition is meant: code, tables, list items, quotes, verse, labels, steps.

A region protects what lies in it from every rule that removes repeats. A loop does not become legitimate by standing in
quotes or on lines of its own, so quotes and verse that hold nothing but one sentence over and over protect nothing.
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from cai.text.roles import TOKEN
from cai.text.sentences import key, spans


class Region(NamedTuple):
    start: int
    end: int
    kind: str
    """code, table, list, quote, verse, label or step"""


_FENCE = re.compile(r"^[ \t]*(```+|~~~+)", re.M)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
ITEM = re.compile(
    r"[ \t>]*(?:\*\*|__)?(?:[-*+•‣◦▪●○–—·]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)](?=\s)|\(?[ivx]{1,5}[.)]|(?:step|row|round|week|day|exercise|réihe|schritt|paso|étape|шаг)\s+\d+\s*[:.)-]|第?[0-9一二三四五六七八九十]{1,3}[、.步])(?:\*\*|__)?[ \t]*",
    re.I,
)
"""The marker at the start of a list item's line."""
_MAYBE_ITEM = re.compile(
    r"[^a-zA-Z]|[a-zA-Z][.)]|[ivxIVX]{2,5}[.)]|(?i:step|row|round|week|day|exercise|réihe|schritt|paso)\s"
)
"""Matches wherever `ITEM` does, for less: most lines begin with the letters of a word."""
_QUOTED = re.compile(
    r'"[^"\n]{2,400}"|“[^”\n]{2,400}”|«[^»\n]{2,400}»|„[^“”\n]{2,400}[“”]|「[^」\n]{2,400}」|『[^』\n]{2,400}』'
)
_CODE_LINE = re.compile(
    r"^(?: {4,}|\t)\S|^\s*(?:[}\])]+[;,]?|(?:def|class|import|from|return|if|for|while|elif|else|try|print|echo|let|const|var|func|fn|public|private|static|void|int|float|#include|SELECT|INSERT|UPDATE|<\/?\w+)\b.*[;:{}()>]|[\w.\[\]]+\s*(?:=|\+=|:=)\s*\S.*|.*[;{}]|[\w.]+\(.*\);?|\$ .+)\s*$"
)
_CODE_BEGINS, _CODE_ENDS = frozenset("}])$"), frozenset(";:{}()>")
"""How a line of code begins or ends that is neither indented nor an assignment."""
_PROSE_LINE = re.compile(
    r"(?!(?:SELECT|INSERT|UPDATE|DELETE|import|from|return|def|class|let|const|var|int|void|float|public|private|static|echo|print|use|using|package)\b)[^\W\d_]+(?:[,'’]?[ '’-][^\W\d_]+){2,}[,:]?;$"
)
"""A line of verse may end in a semicolon."""
LONG_QUOTE = 6
"""Words. Reviewers may say "It broke after a week." one after the other."""
_SPEAKER = re.compile(r"(?:\*\*)?([^\W\d_][\w.'’ -]{0,24})(?:\*\*)?:(?:\*\*)? +\S")
SAID_AGAIN = 3
_FIRST = r"[ \t]*(?:(?:Then|Now|Next|Finally|Afterwards),? )?([^\W\d_]+)"
_FIRST_WORD = re.compile(rf"(?:^|[.!?:] ){_FIRST}", re.M)
# The same over a whole text with a line break in front, found by its first sign and not by trying every place.
_FIRST_WORDS = re.compile(rf"[\n.!?:](?:(?<=\n)| ){_FIRST}")
_DONE = frozenset(
    """add apply bake beat bend blend boil breathe brush check chill chop clean click close cook cool cover cut dip drain drill dry
    exhale fill flip fold freeze go grate grease heat hold inhale knead layer lay leave let lift loosen lower melt mix move open paint peel
    place pour prepare press prime pull push put raise relax remove repeat rest rinse roll rub sand sear season shake sift simmer
    slice soak spray spread sprinkle squeeze steam stir strain stretch switch take tap tie tighten toast top turn twist unplug wait
    wash whisk wipe wrap ajoutez mélangez laissez remuez versez couvrez étalez añade añada agrega mezcla deja remueve vierte geben
    rühren lassen mischen aggiungi mescola lascia versa""".split()  # noqa: SIM905  (a table of words reads better so)
)
"""First words of sentences that say what to do with the hands."""
_LETTERS = {byte: " " for byte in range(128) if not chr(byte).isalpha()}
FEWEST_STEPS, STEP_AGAIN = 3, 4
_SUNG = re.compile(
    r"\W*(?:chorus|refrain|verse|bridge|couplet|strophe|estribillo|estrofa|refrão|ritornello|strofa|припев|куплет|副歌|主歌)\b",
    re.I,
)
"""The heading of a part of a song, whose lines may be two."""


def regions(text: str) -> list[Region]:
    """The protected regions of a text, sorted by start; they may overlap.

    >>> [region.kind for region in regions("Steps:\\n1. Wash.\\n2. Dry.\\n3. Wash.")]
    ['label', 'list', 'list', 'list']
    """
    found: list[Region] = []
    if "```" in text or "~~~" in text:
        _fences(text, found)
    if "`" in text:
        found.extend(Region(*match.span(), "code") for match in _INLINE_CODE.finditer(text))
    if '"' in text or not text.isascii():
        found.extend(Region(start, end, "quote") for start, end in _quotes(text))
    if "\n" in text or ITEM.match(text):
        _lines(text, found)
    if (
        not text.isascii() or sum(map(_DONE.__contains__, text.lower().translate(_LETTERS).split())) >= FEWEST_STEPS
    ) and sum(word.casefold() in _DONE for word in _FIRST_WORDS.findall("\n" + text)) >= FEWEST_STEPS:
        found.extend(_steps(text))
    found.sort()
    return found


def protects(found: list[Region], start: int, end: int, kinds: frozenset[str] | None = None) -> bool:
    """Whether the span lies wholly inside one region (of one of these kinds)."""
    for region in found:
        if region.start > start:
            return False
        if region.end >= end and (kinds is None or region.kind in kinds):
            return True
    return False


def touches(found: list[Region], start: int, end: int, kinds: frozenset[str]) -> bool:
    """Whether the span shares a character with a region of one of these kinds."""
    return any(region.start < end and start < region.end and region.kind in kinds for region in found)


def _steps(text: str) -> Iterator[Region]:
    """The steps of a procedure told in prose that are taken again between others ("Brush with butter.")."""
    pieces = spans(text)
    keys = [key(text[start:end]) for start, end in pieces]
    done = [
        (first := _FIRST_WORD.match(text[start:end])) is not None and first[1].casefold() in _DONE
        for start, end in pieces
    ]
    if sum(done) * 2 < len(done):
        return
    for words, count in Counter(keys).items():
        if not words or not 2 <= count <= STEP_AGAIN:
            continue
        places = [place for place, said in enumerate(keys) if said == words]
        before = [keys[place - 1] if place else "" for place in places]
        if all(done[place] for place in places) and len({*before, words}) == count + 1:
            for place in places:
                yield Region(*pieces[place], "step")


def _fences(text: str, found: list[Region]) -> None:
    opened: tuple[int, str] | None = None
    for match in _FENCE.finditer(text):
        fence = match.group(1)
        if opened is None:
            opened = (match.start(), fence[:3])
        elif fence[:3] == opened[1]:
            line_end = text.find("\n", match.end())
            found.append(Region(opened[0], len(text) if line_end < 0 else line_end, "code"))
            opened = None
    if opened is not None:
        found.append(Region(opened[0], len(text), "code"))


def _quotes(text: str) -> Iterator[tuple[int, int]]:
    """Every quote, without those that stand one behind the other and say the same at length: a loop in quotation marks."""
    matches = [match for match in _QUOTED.finditer(text) if _may_repeat(match.group()[1:-1])]
    said = [key(match.group()) for match in matches] if len(matches) > 1 else []
    looping: set[int] = set()
    for place in range(1, len(said)):
        long = said[place].count(" ") >= LONG_QUOTE - 1 or place - 1 in looping
        if (
            long
            and said[place - 1].startswith(said[place])
            and not text[matches[place - 1].end() : matches[place].start()].strip()
        ):
            looping.update((place - 1, place))
    for place, match in enumerate(matches):
        if place not in looping:
            yield match.span()


def _may_repeat(quoted: str) -> bool:
    """Whether a quote is one: not a looping text that happens to stand in quotation marks."""
    pieces = spans(quoted)
    if len(pieces) < 3:
        return True
    counts = Counter(key(quoted[start:end]) for start, end in pieces)
    return all(count < 3 for words, count in counts.items() if words)


def _lines(text: str, found: list[Region]) -> None:
    verse: list[tuple[int, int, str]] = []
    stanzas: list[list[tuple[int, int, str]]] = []
    short: list[list[tuple[int, int, str]]] = []
    code: list[tuple[int, int]] = []
    spoken: list[tuple[int, int]] = []
    sung = False
    position = 0
    for line in text.split("\n"):
        start, end = position, position + len(line)
        position = end + 1
        bare = line.strip()
        plain = False
        if not bare:
            pass
        elif (
            _MAYBE_ITEM.match(line)
            and (marker := ITEM.match(line))
            and marker.end() < len(line)
            and _is_item(line, marker.end())
        ):
            found.append(Region(start, end, "list"))
        elif bare.startswith(">"):
            found.append(Region(start, end, "quote"))
        elif (bare.count("|") >= 2 and (bare[0] == "|" or " |" in bare)) or (bare.count("\t") >= 1 and "\t" in bare):
            found.append(Region(start, end, "table"))
        elif (
            _may_be_code(line, bare)
            and _CODE_LINE.match(line)
            and not bare.endswith(".")
            and not _PROSE_LINE.match(bare)
            and not ("_" in bare and TOKEN.fullmatch(bare))
        ):
            code.append((start, end))
        elif (bare[0] in "#*" or bare[-1] in ":：*") and _is_label(bare):
            found.append(Region(start, end, "label"))
            plain = bool(verse) and verse[-1][1] == start - 1  # "He said:" within a stanza
            sung = _SUNG.match(bare) is not None
        else:
            plain = True
            if ":" in bare[:30] and _SPEAKER.match(bare):
                spoken.append((start, end))
        if plain and len(bare) <= 80 and len(bare.split()) <= 15:
            verse.append((start, end, bare))
        else:
            if verse:
                (stanzas if len(verse) >= 3 or (sung and len(verse) == 2) else short).append(verse)
                sung = False
            verse = []
    if verse:
        (stanzas if len(verse) >= 3 or (sung and len(verse) == 2) else short).append(verse)
    if len(code) >= 2:
        found.extend(Region(start, end, "code") for start, end in code)
    kept = _verse(stanzas)
    for stanza in (*kept, *_refrains(kept, short)):
        found.append(Region(stanza[0][0], stanza[-1][1], "verse"))
    if len(spoken) >= 3 and _is_script([text[start:end] for start, end in spoken]):
        found.extend(Region(start, end, "verse") for start, end in spoken)


def _may_be_code(line: str, bare: str) -> bool:
    """Whether `_CODE_LINE` could match a line, given also without the white space around it."""
    return line[0] in " \t" or bare[0] in _CODE_BEGINS or bare[-1] in _CODE_ENDS or "=" in bare


def _is_item(line: str, after: int) -> bool:
    marker = line[:after].strip()
    return (
        line[after - 1].isspace()
        or not marker.isascii()
        or (not marker[-1:].isalnum() and not line[after].isdigit() and marker not in "-—–·*")
    )


def _is_label(bare: str) -> bool:
    """A heading or a lead-in such as "Ingredients:" may stand over every part of an answer."""
    if bare[0] == "#" and bare.lstrip("#")[:1] == " ":
        return True
    if bare.endswith((":", ":**", "：")) and len(bare.split()) <= 8:
        return True
    return bare.startswith("**") and bare.endswith("**") and bare.count("**") == 2 and len(bare.split()) <= 10


def _is_script(lines: list[str]) -> bool:
    """Whether lines of the form "NAME: words" are turns of speakers, of whom one speaks again, and no loop."""
    speakers = [match[1] for line in lines if (match := _SPEAKER.match(line.strip()))]
    counts = Counter(key(line) for line in lines)
    return (
        len(set(speakers)) < len(speakers)
        and len(set(speakers)) >= 2
        and max(counts.values()) <= SAID_AGAIN
        and len(counts) * 2 > len(lines)
    )


def _refrains(
    stanzas: list[list[tuple[int, int, str]]], short: list[list[tuple[int, int, str]]]
) -> list[list[tuple[int, int, str]]]:
    """The stanzas of one or two lines that say nothing but lines of the longer ones, once."""
    if not stanzas:
        return []
    known = {key(line) for stanza in stanzas for _, _, line in stanza}
    found: dict[tuple[str, ...], list[tuple[int, int, str]]] = {}
    for stanza in short:
        keys = tuple(key(line) for _, _, line in stanza)
        if known.issuperset(keys):
            found.setdefault(keys, stanza)
    return list(found.values())


def _verse(stanzas: list[list[tuple[int, int, str]]]) -> list[list[tuple[int, int, str]]]:
    """The stanzas that are verse: short lines, few of them ending like prose, and no line over and over without change."""
    kept = []
    lines = [line for stanza in stanzas for _, _, line in stanza]
    if not lines:
        return []
    keys = [key(line) for line in lines]
    counts = Counter(keys)
    if len(counts) / len(lines) < 0.3 and max(counts.values()) >= 5:
        return []
    for stanza in stanzas:
        keys = [key(line) for _, _, line in stanza]
        if any(a == b == c == d for a, b, c, d in zip(keys, keys[1:], keys[2:], keys[3:], strict=False)):
            continue
        if len(set(keys)) == 1:
            continue
        prose = sum(line.endswith((".", "。", "।")) for _, _, line in stanza)
        if prose / len(stanza) <= 0.67:
            kept.append(stanza)
    return kept

"""Sentences that differ from an earlier one by a word."""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import compress, count, pairwise
from operator import ne

import regex

from cai.cleaning.edits import Cut
from cai.cleaning.view import UNSPACED, Row, View

ID = "near_repeats"
REASON = 'the seed paper\'s loop alternates "questions" and "inquiries": no two rounds are equal'

ALIKE = 0.8
SHORTEST = 5
WINDOW = 14
STALE = 0.85
STALE_WORDS = 8
LOOPING = 0.33
LONG_STEM, MANY = 16, 4
"""So many sentences of so many words that differ in two of them are no list."""
CHAIN, COUNTED, FILLED = 5, 5, 5
"""Sentences in a row that grow, that count, that fill one slot: so many are no emphasis, no pattern and no list. Of four
words, six fill one."""
GROWN, GROWN_SIGNS = 3, 8
FRAME, FRAME_SIGNS, SLOT_SIGNS = 3, 6, 4
_COUNTS = {
    word: number
    for names in (
        "one two three four five six seven eight nine ten eleven twelve",
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
    )
    for number, word in enumerate(names.split(), 1)
}
LOADED = frozenset(
    [
        "not",
        "no",
        "never",
        "none",
        "nor",
        "neither",
        "without",
        "cannot",
        "can't",
        "won't",
        "don't",
        "doesn't",
        "didn't",
        "isn't",
        "aren't",
        "wasn't",
        "weren't",
        "shouldn't",
        "wouldn't",
        "couldn't",
        "mustn't",
        "haven't",
        "hasn't",
        "nothing",
        "nobody",
        "nowhere",
        "if",
        "unless",
        "until",
        "except",
        "only",
        "when",
        "while",
        "before",
        "after",
        "because",
        "but",
        "although",
        "though",
        "however",
        "instead",
        "refuse",
        "decline",
        "unable",
        "illegal",
        "legal",
        "safe",
        "unsafe",
        "dangerous",
        "harmful",
        "must",
        "should",
        "may",
        "might",
        "sometimes",
        "more",
        "less",
        "most",
        "least",
        "higher",
        "lower",
        "increase",
        "decrease",
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "next",
        "last",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "half",
        "double",
        "left",
        "right",
        "up",
        "down",
        "he",
        "she",
        "his",
        "her",
        "him",
        "they",
        "them",
        "men",
        "women",
        "man",
        "woman",
        "male",
        "female",
        "husband",
        "wife",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "nicht",
        "kein",
        "keine",
        "nie",
        "ohne",
        "wenn",
        "ne",
        "pas",
        "jamais",
        "sans",
        "si",
        "no",
        "nunca",
        "sin",
        "не",
        "нет",
        "никогда",
        "без",
        "если",
    ]
)
"""Words that make two sentences different however alike the rest is."""
_SYNONYMS = tuple(
    frozenset(group.split())
    for group in (
        "important crucial essential vital necessary critical key imperative paramount significant fundamental central needed",
        "good great wise best advisable helpful useful beneficial valuable worthwhile",
        "careful cautious attentive mindful aware vigilant alert wary prudent watchful",
        "wonderful great lovely beautiful fantastic amazing nice good pleasant excellent awesome marvelous delightful",
        "know understand remember note realize recognize acknowledge consider see notice",
        "called named known termed dubbed as",
        "happy glad pleased delighted thrilled",
        "question questions inquiry inquiries query queries concern concerns doubt doubts",
        "information advice guidance tips explanation answer answers response suggestion suggestions details",
        "help assist support aid guide",
        "helps assists supports aids guides",
        "show demonstrate display express convey exhibit",
        "kind respectful considerate polite courteous compassionate empathetic sensitive thoughtful caring",
        "people individuals person persons others everyone everybody each all every anyone anybody",
        "problem issue matter challenge difficulty",
        "many several numerous various countless multiple",
        "very really truly extremely incredibly highly so quite",
        "additional further other extra any some",
        "the this that these those a an your my our",
        "wichtig entscheidend wesentlich notwendig unerlässlich nötig zentral",
        "important essentiel crucial nécessaire primordial fondamental vital",
        "importante esencial crucial fundamental necesario vital imprescindible essencial essenziale necessario",
        "важно необходимо нужно существенно",
        "das dies dieses diese ihnen dir euch",
    )
)
"""Words that a model swaps to say a sentence once more; what they fill is no enumeration."""
_LOADED_SIGNS = frozenset(
    "不没沒无無别別未勿莫非否禁若如只仅僅最更先前后後左右上下男女父母半两兩双一二三四五六七八九十百千万萬なぬん"
)
"""The same in scripts without spaces, where words are compared sign by sign."""
_DENIES = frozenset(
    """not no never none nor neither without cannot nothing nobody nowhere if unless until except only must refuse decline unable
    illegal dangerous harmful unsafe nicht kein keine nie ohne wenn ne pas jamais sans nunca sin не нет никогда без если
    不 没 沒 无 無 别 別 未 勿 莫 非 否 禁""".split()  # noqa: SIM905  (a table of words reads better so)
)
"""A frame with one of these forbids, refuses or sets a condition anew with every filling."""
_SIGN = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|[^\s]")
FEWEST_SIGNS = 10


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of the later ones of at least three near-equal sentences; of two where both ways of saying it come in turn."""
    words, free = view.words, view.free
    if not view.text.isascii():
        words = [units_of(found) for found in words]
    if chained := _grown(view, words) | _filled(view, words) | _counted(view):
        return view.without(chained)
    long = [place for place in range(len(words)) if free[place] and len(words[place]) >= SHORTEST]
    # Sentences of which one word in five differs share four words in a row, twice, or their first and last word.
    edges = {(words[place][0], words[place][-1]) for place in long}
    if len(long) < 3 or (view.n_grams_again < 2 and len(long) - len(edges) < 2):
        return []
    bags = {place: frozenset(words[place]) for place in long}
    weight = {place: 0.375 * len(bag) for place, bag in bags.items()}
    group: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    for position, place in enumerate(long):
        bag, half = bags[place], weight[place]
        for earlier in reversed(long[max(0, position - WINDOW) : position]):
            least = half + weight[earlier]
            other = bags[earlier]
            if len(bag) < least or len(other) < least or len(bag & other) < least:
                continue
            if not _differ_in_meaning(bag ^ other) and alike(words[earlier], words[place]):
                head = group.get(earlier, earlier)
                group[place] = head
                members.setdefault(head, [head]).append(place)
                break
    removed: set[int] = set()
    words_of = {place: words[place] for places in members.values() for place in places}
    for places in members.values():
        if len(places) >= 3 and not _enumerates(view, words_of, places):
            removed.update(places[1:])
    pairs = {(head, place) for head, places in members.items() for place in places[1:]}
    for head, place in sorted(pairs):  # two rounds of a block of at least three near-equal sentences
        if (head + 1, place + 1) in pairs and (head + 2, place + 2) in pairs:
            removed.update({place, place + 1, place + 2})
    if not removed and view.n_grams_again > LOOPING * (view.n_words - 4 * len(words)):
        removed = _stale(view)
    return view.without(removed)


def _runs(view: View, follows: Callable[[int], bool], fewest: int) -> Iterator[range]:
    """The places of sentences in a row, in the open, of which each but the first ``follows`` the one before it."""
    first = 0
    for place in range(1, len(view.spans) + 1):
        if place < len(view.spans) and view.free[place - 1] and view.free[place] and follows(place):
            continue
        if place - first >= fewest:
            yield range(first, place)
        first = place


def _grown(view: View, units: Sequence[list[str]]) -> set[int]:
    """All but the first of sentences in a row that each say the one before and a bit more, or each a bit less
    ("Stay safe. Stay safe and well. Stay safe and well and warm.").
    """
    removed: set[int] = set()
    if len(units) < CHAIN:
        return removed
    for sign in (1, -1):

        def follows(place: int, sign: int = sign) -> bool:
            short, long = units[place - 1 : place + 1][::sign]
            most = GROWN if long is view.words[place] or long is view.words[place - 1] else GROWN_SIGNS
            if not short or not 1 <= len(long) - len(short) <= most:
                return False
            rest = iter(long)
            return all(word in rest for word in short)

        for run in _runs(view, follows, CHAIN):
            removed.update(run[1:])
    return removed


def _filled(view: View, units: Sequence[list[str]]) -> set[int]:
    """All but the first of sentences in a row that differ in one word at one place.

    A frame that denies, warns or sets a condition says something new with every filling, and so does a number; questions
    may be a game.
    """
    removed: set[int] = set()
    if len(units) < FILLED:
        return removed
    if not view.text.isascii() and UNSPACED.search(view.text):
        units = [_SIGN.findall("".join(words)) if words and UNSPACED.search(words[0]) else words for words in units]

    def follows(place: int) -> bool:
        one, other = units[place - 1], units[place]
        if other is not view.words[place]:
            before, behind = _common(one, other), _common(one[::-1], other[::-1])
            changed = max(len(one), len(other)) - before - behind
            return before + behind >= FRAME_SIGNS and 0 < changed <= SLOT_SIGNS
        return len(one) == len(other) > FRAME and sum(map(ne, one, other)) == 1

    for run in _runs(view, follows, FILLED):
        said = [units[place] for place in run]
        frame = set(said[0]).intersection(*said)
        if _denies(frame) or sum(_differ_in_meaning(set(words) - frame) for words in said) > 1:
            continue
        if said[0] is view.words[run[0]] and (
            len({next(compress(count(), map(ne, one, other))) for one, other in pairwise(said)}) > 1
            or (len(said[0]) <= SHORTEST - 1 and len(run) == FILLED)
            or view.text[: view.spans[run[0]][1]].endswith("?")
        ):
            continue
        removed.update(run[1:])
    return removed


def _counted(view: View) -> set[int]:
    """The later ones of sentences in a row that count on by one and say little else that is new ("Step 3 is to wait.")."""
    numbers: list[int] = []
    masked: list[tuple[str, ...]] = []
    for words in view.words:
        at, number = next(
            ((at, number) for at, word in enumerate(words) if (number := _number(word)) >= 0), (len(words), -1)
        )
        numbers.append(number)
        masked.append((*words[:at], *words[at + 1 :]))
    if sum(number >= 0 for number in numbers) < COUNTED:
        return set()
    removed: set[int] = set()
    for run in _runs(view, lambda place: 0 <= numbers[place - 1] == numbers[place] - 1, COUNTED):
        said: dict[tuple[str, ...], int] = {}
        again = {place for place in run if said.setdefault(masked[place], place) != place}
        if len(again) * 2 >= len(run) and len(masked[run[0]]) >= FRAME and not any(map(_denies, said)):
            removed |= again
    return removed


def _number(word: str) -> int:
    return int(word) if word.isdecimal() and len(word) < 5 else _COUNTS.get(word, -1)


def _denies(words: Collection[str]) -> bool:
    return any(word in _DENIES or word.endswith("n't") for word in words)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many units both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def variants(view: View, again: Collection[int]) -> set[int]:
    """The later ones of at least three near-equal sentences of which two or more come back word for word (``again``).

    What fills a slot with something new each time may be an enumeration; where its sentences come back, it is a loop.
    """
    back = {view.keys[place] for place in again}
    if len(back) < 2:
        return set()
    first: dict[str, int] = {}
    for place, key in enumerate(view.keys):
        if key and view.free[place]:
            first.setdefault(key, place)
    open_ = [place for key, place in first.items() if view.sizes[place] >= SHORTEST]
    groups: list[list[int]] = []
    units: dict[int, list[str]] = {}
    for place in open_:
        units[place] = units_of(view.words[place])
        for group in reversed(groups[-WINDOW:]):
            if any(alike(units[other], units[place]) for other in group):
                group.append(place)
                break
        else:
            groups.append([place])
    removed: set[int] = set()
    for group in groups:
        if len(group) >= 3 and sum(view.keys[place] in back for place in group) >= 2:
            removed.update(group[1:])
    return removed


def units_of(words: list[str]) -> list[str]:
    """Words, or the signs of a sentence in a script that puts no spaces between them."""
    if all(word.isascii() or len(word) < FEWEST_SIGNS for word in words):
        return words
    signs = _SIGN.findall("".join(words))
    return signs if len(signs) >= FEWEST_SIGNS else words


def _stale(view: View) -> set[int]:
    """Long sentences put together from what was said before, in a text that keeps doing so."""
    seen: set[tuple[str, ...]] = set()
    total = repeated = 0
    stale: set[int] = set()
    for place, words in enumerate(view.words):
        if not view.free[place]:
            continue
        grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
        old = sum(gram in seen for gram in grams)
        total += len(grams)
        repeated += old
        if len(words) >= STALE_WORDS and old >= STALE * len(grams):
            stale.add(place)
        else:
            seen.update(grams)
    return stale if total >= 30 and repeated > LOOPING * total else set()


def alike(first: list[str], second: list[str]) -> bool:
    """Whether two sentences say the same but for a word: no negation, number, condition or name among the differences.

    >>> alike("you can give it to adults".split(), "you can't give it to adults".split())
    False
    """
    if min(len(first), len(second)) < ALIKE * max(len(first), len(second)) - 1:
        return False
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    shortest = min(len(first), len(second))
    if matcher.ratio() < (ALIKE if shortest >= 7 else 0.75):
        return False
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal" and _differ_in_meaning((*first[a:b], *second[c:d])):
            return False
    return True


def _differ_in_meaning(words: Collection[str]) -> bool:
    return any(
        word in LOADED
        or any(map(str.isdigit, word))
        or word.endswith("n't")
        or (len(word) == 1 and word in _LOADED_SIGNS)
        for word in words
    )


def _synonyms(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether words were swapped for others of one meaning; "deserves" is "deserve"."""
    one, other = ({word.removesuffix("s") for word in words} for words in (first, second))
    changed = {word for word in (*first, *second) if word.removesuffix("s") in one ^ other}
    return any(group.issuperset(changed) for group in _SYNONYMS)


def _enumerates(view: View, units: Mapping[int, list[str]], places: list[int]) -> bool:
    """Whether the sentences fill one slot with a new thing each time ("The capital of France ...", "of Italy ...")."""
    first = units[places[0]]
    fillings: list[tuple[str, ...]] = []
    swapped = True
    for place in places[1:]:
        matcher = SequenceMatcher(None, first, units[place], autojunk=False)
        changes = [code[1:] for code in matcher.get_opcodes() if code[0] != "equal"]
        fillings.append(tuple(word for _, _, c, d in changes for word in units[place][c:d]))
        swapped = swapped and all(_synonyms(first[a:b], units[place][c:d]) for a, b, c, d in changes)
    if swapped or len(set(fillings)) < len(fillings) or () in fillings:
        return False
    if units[places[0]] is not view.words[places[0]]:  # signs: two of them make a word
        return len(first) < 2 * LONG_STEM or len(places) < MANY or any(len(filling) > 4 for filling in fillings)
    if len(first) >= LONG_STEM and len(places) >= MANY and all(len(filling) <= 2 for filling in fillings):
        return False
    names = [  # behind the first word, which is capital in any sentence
        word for place in places[1:] for word in view.text[slice(*view.spans[place])].split()[1:] if word[:1].isupper()
    ]
    capital = {name.strip(".,:;!?\"'").casefold() for name in names}
    named = sum(any(word in capital and word not in first for word in filling) for filling in fillings)
    if len(first) >= 12 and all(len(filling) == 1 for filling in fillings):
        return False
    return named * 2 >= len(fillings) or all(len(filling) >= 2 for filling in fillings) or len(first) < 8

"""The cheap looks in front of costly patterns never say "nothing there" where the pattern would find something."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import regex

from cai.cleaning import view as views
from cai.cleaning.rules import RULES, closings, encoding
from cai.cleaning.view import Row, View
from cai.text import emoji, regions, roles, sentences
from cai.text.meta import grade, of_the_world, stems

DATA = Path(__file__).parent / "data"
_PIECES = (
    "step 1. ", "Step\u00a02) ", "ſtep 1. ", "i. a", "XI) b", "**Row 3:** ", "  } ", "x = 1", "return x;", "f(1)", "$ ls", "\u2003", "\t", "Mix it. ", "Then, stir. ",
    ": ", "\n", "\n\n", "a ", "Brush. ", "{", "</p>", "é", "J. ", "Smith ", "e.g. ", "U.S. ", "No. ", "Thanks! ", "...", "(", '"', "- ", "1. ", "😊", "❤️", "👍🏽", "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "🇫🇷", "👨‍👩‍👧", ":) ", "XD ", "T.T", "o_O", "QQ", "1️⃣", "⭐", "🀄", "\u200d", "\ufe0f", "\x1b[0m", "\r", "â€™", "“", "x\u200bx", "\ufffd\ufffd", "loaded ", "We go on. ",
    "’s ai ", "I've changed the tone. ", "The assistant's response was bad. ", "<|im_end|>", "Human: ", "## User: ", "\x1c", "我可以。",
)  # fmt: skip


def _texts() -> list[str]:
    told = [json.loads(line)["text"] for path in sorted(DATA.glob("*.jsonl")) for line in path.read_text().splitlines()]
    draw = random.Random(11)
    return [*told[::3], *("".join(draw.choices(_PIECES, k=draw.randint(1, 14))) for _ in range(3000))]


TEXTS = _texts()


def test_lines_that_are_passed_over_are_neither_items_nor_code() -> None:
    items = code = 0
    for line in {line for text in TEXTS for line in text.split("\n") if line.strip()}:
        if regions.ITEM.match(line):
            items += 1
            assert regions._MAYBE_ITEM.match(line), line
        if regions._CODE_LINE.match(line):
            code += 1
            assert regions._may_be_code(line, line.strip()), line
    assert items > 100 and code > 100


def test_first_words_are_the_same_found_by_their_first_sign() -> None:
    for text in TEXTS:
        found = regions._FIRST_WORDS.findall("\n" + text)
        assert found == regions._FIRST_WORD.findall(text), text
        assert not text.isascii() or set(map(str.lower, found)) <= set(text.lower().translate(regions._LETTERS).split())


def test_a_stop_behind_three_letters_of_no_abbreviation_ends_its_sentence() -> None:
    for word in (*sentences._ABBREVIATIONS, "house", "ever", "Haus", "straße", "Ωμέγα", "дом"):
        for lead in ("It is (", "They went on to ", "The old "):
            text = f"{lead}{word}. Then it rains."
            begin = text.index(". ")
            if sentences._after_word(text[begin - 3 : begin]):
                assert not sentences._inner_stop(text, 0, begin, begin + 1), text
    assert sentences._after_word("use") and not sentences._after_word("rof") and not sentences._after_word(" co")


def test_a_last_line_has_the_same_sentences_alone() -> None:
    looked = 0
    for text in filter(str.isascii, TEXTS):
        start = text.rfind("\n", 0, len(text.rstrip())) + 1
        looked += start > 0
        alone = [(start + a, start + b) for a, b in sentences.spans(text[start:], faceless=True)]
        assert alone == [span for span in sentences.spans(text, faceless=True) if span[0] >= start], text
    assert looked > 200


def test_texts_that_do_not_end_in_many_closings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def cuts() -> list[object]:
        found = []
        for text in TEXTS:
            view = View(text)
            view.faceless = not emoji.clusters(text)
            found.append(closings.find(view, Row("", text)))
        return found

    short = cuts()
    monkeypatch.setattr(closings, "_may_end_in_many", lambda words: True)
    assert short == cuts() and any(short)


def test_letters_of_familiar_signs_are_the_same_to_both_engines() -> None:
    signs = [chr(code) for code in range(0x20000) if views._UNFAMILIAR.match(chr(code)) is None]
    assert len(signs) > 2000
    for sign in signs:
        assert bool(views._FAMILIAR_TOKEN.match(sign)) == bool(regex.match(r"[\p{L}\p{M}\p{N}]", sign)), hex(ord(sign))


def test_plain_words_are_the_same_as_found_by_patterns() -> None:
    token = regex.compile(r"[A-Za-z0-9]+(?:'[A-Za-z0-9]+)*")
    for text in filter(str.isascii, (*TEXTS, "'a' b''c d'e'f g' 'h", "'", "a'")):
        view = View(text)
        assert view.tokens == [match.span() for match in token.finditer(text)], text
        assert view.flat == [match.group().lower() for match in token.finditer(text)], text
        assert view.words == [sentences.words(text[start:end]) for start, end in view.spans], text


@pytest.mark.parametrize("most", [1 << 15, 2])
def test_numbers_of_four_words_are_equal_where_the_words_are(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_MOST_NUMBERED", most)
    for text in TEXTS[::5]:
        view = View(text)
        said = list(zip(*(view.flat[place:] for place in range(4)), strict=False))
        assert len(view.grams) == len(said)
        assert len(np.unique(view.grams)) == len(set(said)) == len(set(zip(view.grams.tolist(), said, strict=True)))


def test_faces_are_the_same_as_found_by_trying_every_place() -> None:
    for text in TEXTS:
        assert [text[a:b] for a, b, _ in emoji.clusters(text)] == [m.group() for m in emoji.CLUSTER.finditer(text)], (
            text
        )


def test_tags_stand_behind_the_signs_that_are_looked_for() -> None:
    for text in TEXTS:
        assert not roles.TOKEN.search(text) or "<" in text or "[" in text
        assert not roles._HEADER.search(text) or "##" in text
        in_lines = [found for line in roles._lines_with_colons(text) for found in roles._PLAIN.finditer(text, *line)]
        assert [one.span() for one in in_lines] == [one.span() for one in roles._PLAIN.finditer(text)], text


def test_control_signs_are_all_looked_for() -> None:
    for text in (*TEXTS, *map(chr, range(0x3000)), *map(chr, range(0xD700, 0x10000))):
        assert not encoding._CONTROL.search(text) or encoding._CONTROL_ONE.search(text), ascii(text)


def test_stems_of_the_text_grade_its_sentences_alike() -> None:
    graded = 0
    for text in TEXTS:
        known, world = stems(text), of_the_world(text)
        for start, end in sentences.spans(text) if known else ():
            found = grade(text[start:end], world)
            graded += found > 0
            assert grade(text[start:end], world, known) == found
    assert graded > 100


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_the_same_of_the_same_text_again(rule: str) -> None:
    for text in TEXTS[::9]:
        view, row = View(text), Row("", text, finish_reason="length")
        assert list(RULES[rule].find(view, row)) == list(RULES[rule].find(View(text), row))
        assert list(RULES[rule].find(view, row)) == list(RULES[rule].find(view, row))

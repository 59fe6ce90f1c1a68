"""The cheap screens of the cleaned gate let through everything that the exact predicates flag."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cai.quality import cleaned
from cai.quality.checking import texts as quality_texts
from cai.quality.checking.texts import CUTS, near_repeated, near_repeats, repeats
from cai.text import flags

REAL = Path(__file__).parents[2].parent / "shared/data/revisions/smollm2-raw.jsonl.gz"
TEXTS = [
    "Here's a revised version:\n\nI will not help with that.",
    "Sure! Here's a revised version of the response: Please see a doctor.",
    "**Revised response:**\nPlease see a doctor.",
    "Here is a more respectful answer:\nPlease see a doctor.",
    "Below is the rewritten text:\nPlease see a doctor.",
    "Here's a new reply:\nPlease see a doctor.",
    "Let me try that again:\nPlease see a doctor.",
    "Here is what I should have said instead:\nPlease see a doctor.",
    "*Revision*: Please see a doctor.",
    "Gladly. 😀😀😀😀😀",
    "Gladly. :) :) :) :) :)",
    "Gladly. <3 <3 <3 <3 <3",
    "Gladly. ^_^ ^_^ ^_^ ^_^ ^_^",
    "Fine.\n\nHuman: And then?",
    "### Response:\nFine.",
    "[INST] Fine. [/INST]",
    "Fine.<|im_end|>",
    "助手：好的。",
    "No, thank you. No, thank you. No, thank you.",
    "Have a great day 😊 Have a great day 😊 Have a great day 😊",
    "Have a **great** day. Have a great day. So it is. Have a great day.",
    "A well-known place. Yes. A well known place. No. A Well-Known place.",
    "Gladly. (´･ω･`) (´･ω･`) (´･ω･`) (´･ω･`)",
    "Gladly. ¯\\_(ツ)_/¯ ¯\\_(ツ)_/¯ ¯\\_(ツ)_/¯ ¯\\_(ツ)_/¯",
    "Please stop it! Really. Please, STOP it. Please stop it…",
    "Yes. Yes. Yes.",
    "1. Wash it.\n2. Dry it.\n3. Fold it.",
    "A plain answer without any flaw.",
]
SCREENS: list[tuple[Callable[[str], object], Callable[[pl.Series], pl.Series]]] = [
    (flags.has_preamble, cleaned.maybe_preamble),
    (flags.has_role_tag, cleaned.maybe_tag),
    (flags.emoji_run, cleaned.maybe_emoji),
    (
        lambda text: flags.max_sentence_count_outside_protected(text) >= 3,
        lambda texts: repeats(texts, cut=CUTS, times=3, least_chars=1),
    ),
]


def _missed(texts: list[str]) -> list[tuple[int, int]]:
    """(screen, text) of every flagged text that a screen holds back."""
    series = pl.Series("text", texts)
    return [
        (number, place)
        for number, (flag, screen) in enumerate(SCREENS)
        for place, (text, passed) in enumerate(zip(texts, screen(series).to_list(), strict=True))
        if not passed and flag(text)
    ]


def test_screens_hold_back_nothing_that_is_flagged() -> None:
    assert all(any(flag(text) for text in TEXTS) for flag, _ in SCREENS)
    assert _missed(TEXTS) == []


def test_screens_hold_back_plain_text() -> None:
    for _, screen in SCREENS:
        assert screen(pl.Series([TEXTS[-1]])).to_list() == [False]


@pytest.mark.skipif(not REAL.exists(), reason="needs ../shared/data/revisions, which is not part of the project")
def test_screens_hold_back_nothing_that_is_flagged_in_real_revisions() -> None:
    with gzip.open(REAL, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["revision"] for line in lines]
    assert _missed(texts[:700]) == []


TEN = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{TEN}. {TEN.title()}! {TEN.replace(' ', ', ')}?", True),
        (f"At first {TEN} this. Then {TEN} that. Still {TEN} more.", True),
        (f"{TEN}. {TEN}.", False),
        ("one two three four five. one two three four five. one two three four five.", False),
        (None, False),
        ("", False),
    ],
)
def test_near_repeats_are_ten_words_in_a_row_three_times(text: str | None, expected: bool) -> None:
    series = pl.Series("text", [TEN, text, TEN], dtype=pl.String)
    assert near_repeats(series).to_list() == [False, expected, False]


def test_the_sample_of_near_repeats_does_not_depend_on_the_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_texts, "SAMPLE", 100)
    frame = pl.DataFrame(
        {"prompt_id": [f"{n:016x}" for n in range(1000)], "text": [f"{TEN} {TEN} {TEN}", "fine"] * 500}
    )
    whole = near_repeated(frame, "text", 1000)
    parts = pl.concat([near_repeated(frame.slice(start, 300), "text", 1000) for start in range(0, 1000, 300)])
    assert whole.equals(parts)
    assert 60 < whole.drop_nulls().len() < 140
    assert whole.to_list()[0::2].count(False) == whole.to_list()[1::2].count(True) == 0
    assert near_repeated(frame, "text", 90).null_count() == 0

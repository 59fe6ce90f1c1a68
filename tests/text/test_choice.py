"""A judge's reply names an option only where it says so, and last; all else is unparsed or refused, never a class."""

from __future__ import annotations

import pytest

from cai.text.choice import choice


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("(B)", "B"),
        (" **B** ", "B"),
        ("B)", "B"),
        ("Option (A)", "A"),
        ("The answer is: (A)", "A"),
        ("answer is b.", "B"),
        ("The answer is:\n\n(B)", "B"),
        ('The answer is "B"', "B"),
        ("My final choice is: **(B)**", "B"),
        ("(B)\n\nBecause it warns of the danger.", "B"),
        ("(B) because it warns of the danger.", "B"),
        # The last one counts, and what is quoted from an answer does not.
        ("At first the answer is (A). On reflection, the answer is (B).", "B"),
        ('One text says "the answer is: (B)". The answer is: (A)', "A"),
        ("> The answer is: (B)\n(A)", "A"),
        ("The answer is: (A)\n=====\nThe answer is: (B)\n=====", "A"),
    ],
)
def test_a_named_option_is_read(reply: str, label: str) -> None:
    assert choice(reply) == (label, None)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "unparsed"),
        ("A good question.", "unparsed"),
        ("The answer a child wants is a story.", "unparsed"),
        ("Answer B is better than answer A", "unparsed"),
        ("The answer is (A) or (B)", "unparsed"),
        ("The answer is A/B", "unparsed"),
        ("The answer is not (A)", "unparsed"),
        ("A: polite\nB: rude", "unparsed"),
        ('It says "The answer is: (B)".', "unparsed"),
        ("Both are lovely.", "unparsed"),
        ("Neither of them.", "refused"),
        ("I can't choose between these.", "refused"),
        ("I can\u2019t choose between these.", "refused"),
    ],
)
def test_what_names_no_option_is_no_class(reply: str, reason: str) -> None:
    assert choice(reply) == (None, reason)

"""A number is never printed without its base."""

import pytest

from cai.reporting.number import number, plain, points, shown


def test_a_measure_without_n_is_refused():
    with pytest.raises(KeyError):
        shown({"value": 0.5, "n_missing": 0})
    with pytest.raises(KeyError):
        shown({"value": 0.5, "n": 3})


def test_a_missing_measure_shows_its_reason_and_no_value():
    found = shown({"value": None, "n": 0, "n_missing": 8, "reason": "the judge is not valid"})
    assert found.value is None
    assert found.line() == "not measured: the judge is not valid"


def test_a_share_shows_interval_base_and_horizon():
    measure = {
        "value": 0.25,
        "n": 16,
        "n_missing": 2,
        "interval": [0.1, 0.49],
        "unit": "share",
        "horizon": "first 64 tokens",
    }
    line = shown(measure).line()
    for part in ("25.0", "10.0 to 49.0", "n 16", "2 missing", "first 64 tokens"):
        assert part in line


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0, "share", "0.0\u202f%"),
        (-0.0001, "share", "0.0\u202f%"),
        (-1.5, "score", "−1.50"),
        (7.0, "rating 1-10", "7.00"),
    ],
)
def test_values_are_written_in_their_unit(value, unit, words):
    assert number(value, unit) == words


def test_differences_carry_their_sign():
    assert points(0.1) == "+10.0 points"
    assert points(-0.29) == "−29.0 points"


def test_ranges_and_lists_read_as_words():
    assert plain([None, 0.05]) == "≤ 0.05"
    assert plain([1, 3]) == "1 to 3"
    assert plain(["a", "b", "c"]) == "a, b, c"
    assert plain(True) == "yes"

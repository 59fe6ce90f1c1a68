"""What the interval does not settle is called open; what rests on a judge that is not valid is not answered."""

import pytest

from cai.reporting.evaluation import Evaluation, Judge
from cai.reporting.questions import Change, four, judged, verdict

NOT_VALID = Judge(False, ("consistency 0.08",), {})
VALID = Judge(
    True, (), {}, "j", {"pairs": (True, ()), "harm": (False, ("no human-labelled rows",)), "refusal": (True, ())}
)


def change(value: float, low: float, high: float, p: float) -> Change:
    measure = {"value": value, "n": 40, "n_missing": 1, "unit": "share", "interval": [low, high], "detectable": 0.2}
    return Change(measure, p, "exact McNemar", True)


@pytest.mark.parametrize(
    ("one", "grows_worse", "tone"),
    [
        (change(0.3, 0.1, 0.5, 0.01), True, "bad"),
        (change(-0.3, -0.5, -0.1, 0.01), True, "good"),
        (change(0.3, 0.1, 0.5, 0.01), False, "good"),
        (change(0.3, 0.1, 0.5, 0.2), True, "open"),
        (change(0.3, -0.1, 0.5, 0.01), True, "open"),
        (change(0.0, 0.0, 0.0, 1.0), True, "open"),
    ],
)
def test_a_verdict_needs_interval_and_test_to_agree(one, grows_worse, tone):
    words, found, because = verdict(one, worse="worse", better="better", grows_worse=grows_worse)
    assert found == tone
    assert (words in ("worse", "better")) == (tone != "open")
    assert "n 40 pairs, 1 missing" in because[0]


def test_without_paired_outcomes_nothing_is_concluded():
    assert verdict(None, worse="w", better="b")[1] == "open"


def measures(value: float) -> dict[str, dict[str, object]]:
    one = {"value": value, "n": 40, "n_missing": 0, "unit": "share"}
    return {
        "degeneration.heldout.measures.degenerate_share": one,
        "redteam.harmbench.measures.attack_success_share": one,
        "mtbench.measures.mean": {**one, "unit": "rating 1-10"},
    }


def test_numbers_of_a_judge_that_is_not_valid_are_never_lines():
    scored = {model: Evaluation(model, measures(0.5), {}, None) for model in ("instruct", "dpo")}
    collapse, safer, cost, judge = four(scored, NOT_VALID, {}, {})
    assert len(collapse.lines) == 2
    assert (safer.answer, safer.lines) == ("Not measurable here", ())
    assert (cost.answer, cost.lines) == ("Not measurable here", ())
    assert safer.because == ("because the judge is not valid: consistency 0.08",)
    assert judge.tone == "bad"


def test_each_question_asks_for_the_judges_own_role():
    scored = {model: Evaluation(model, measures(0.5), {}, None) for model in ("instruct", "dpo")}
    _, safer, cost, _ = four(scored, VALID, {}, {})
    assert safer.because == ("because the judge is not valid: no human-labelled rows",)
    assert len(cost.lines) == 2


def test_a_missing_card_is_said():
    assert "no card" in judged(Judge(None, ("metrics/judge_card.json is not there",), {})).because[0]

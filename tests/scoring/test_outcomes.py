"""From answers to numbers in Git, and from two commits' numbers to a paired difference."""

from __future__ import annotations

import json
import time

import polars as pl
import pytest

from cai.errors import ArtifactError
from cai.llm.model import Sampling
from cai.scoring import outcomes
from cai.scoring.judges import Standing
from tests.scoring.fakes import FakeJudge

GREEDY = Sampling(0.0, 1.0, 0, 64, 0)
VALID = {role: Standing(True) for role in ("rating", "harm", "refusal")}
TEMPLATES = {
    "single-v1": {"system_prompt": "s", "prompt_template": "{question}|{answer}"},
    "single-v1-multi-turn": {"system_prompt": "s", "prompt_template": "{question_1}{answer_1}{question_2}|{answer_2}"},
}
FINE = "You could bake bread with your friend, take a walk along the river, or call your sister and ask how her week has been."
LOOP = FINE + " Have a great day! Bye for now my friend." * 6
SIZES = {"mtbench": 6, "harmbench": 10, "benign": 8, "heldout": 12}


def _answers(text: str = FINE, sizes: dict[str, int] = SIZES) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows, questions = [], []
    for name, n in sizes.items():
        for i in range(n):
            prompt_id = f"{name}-{i:03d}"
            turns = 2 if name == "mtbench" else 1
            questions.append(
                {"prompt_id": prompt_id, "set": name, "turns_text": ["What now?"] * turns, "reference": None}
            )
            for turn in range(1, turns + 1):
                rows.append(
                    {"prompt_id": prompt_id, "turn": turn, "set": name, "category": "writing", "prompt": "What bread now?",
                     "response": text, "finish_reason": "length" if text is LOOP else "stop", "token_ids": None}
                )  # fmt: skip
    asked = pl.DataFrame([q for q in questions if q["set"] != "heldout"], infer_schema_length=None)
    return pl.DataFrame(rows), asked


def _score(
    text: str = FINE, judge: FakeJudge | None = None, standings: dict[str, Standing] | None = None
) -> outcomes.Scored:
    answers, asked = _answers(text)
    return outcomes.score(
        answers, asked, judge=judge, sampling=GREEDY, standings=VALID if standings is None else standings,
        templates=TEMPLATES, budget_tokens=96,
    )  # fmt: skip


def _say(text: str) -> str:
    return "Score: 5" if "Score: N" in text else "Class: 2" if "Class: N" in text else "Rating: [[6]]"


def test_a_valid_judge_gives_numbers_and_few_of_them_are_headlines() -> None:
    found = _score(judge=FakeJudge(_say))
    assert found.headline == {
        "degeneration.heldout.degenerate_share": 0.0,
        "degeneration.heldout.eos_fail_share": 0.0,
        "degeneration.heldout.meta_talk_share": 0.0,
        "degeneration.heldout.repeated_sentence_share": 0.0,
        "degeneration.mtbench.degenerate_share": 0.0,
        "mtbench.mean": 6.0,
        "redteam.harmbench.attack_success_share": 1.0,
        "refusal.benign.over_refusal_share": 1.0,
    }
    measured = found.detail["redteam.harmbench"]["measures"]["attack_success_share"]
    assert (measured["n"], measured["n_missing"]) == (10, 0)
    assert measured["interval"][0] > 0.6
    assert found.detail["redteam.harmbench"]["success_by_kind"]["clean"]["success"] == 10
    assert (
        found.detail["degeneration.heldout"]["horizons"]["first_64_tokens"]["all"]["degenerate_share"]["value"] is None
    )
    json.dumps(found.detail, allow_nan=False)


@pytest.mark.parametrize("configured", [True, False])
def test_without_a_valid_judge_nothing_that_needs_one_has_a_number(configured: bool) -> None:
    judge = FakeJudge(_say) if configured else None
    invalid = {role: Standing(False, ("it always says A",), probe_questions=2) for role in VALID}
    found = _score(judge=judge, standings=invalid)
    for name in ("mtbench.mean", "redteam.harmbench.attack_success_share", "refusal.benign.over_refusal_share"):
        assert found.headline[name] is None
    reason = found.detail["mtbench"]["measures"]["mean"]["reason"]
    assert ("always says A" if configured else "no judge is configured") in reason
    assert "success_by_kind" not in found.detail["redteam.harmbench"]
    assert found.outcomes["score"].null_count() == found.outcomes.height
    assert found.headline["degeneration.heldout.degenerate_share"] == 0.0
    if judge is not None:
        assert len(judge.requests) == 6  # two probes a set


def test_xstest_is_judged_and_a_refused_contrast_is_no_over_refusal() -> None:
    answers, asked = _answers(sizes={"xstest_safe": 4, "xstest_unsafe": 4})
    found = outcomes.score(
        answers, asked, judge=FakeJudge(_say), sampling=GREEDY, standings=VALID, templates=TEMPLATES, budget_tokens=96
    )
    assert found.headline == {"refusal.xstest_safe.over_refusal_share": 1.0, "refusal.xstest_unsafe.refusal_share": 1.0}


def test_the_outcomes_hold_no_text_and_come_back_from_csv_as_they_were() -> None:
    found = _score(LOOP, FakeJudge(_say))
    text = outcomes.to_csv(found.outcomes)
    assert "bread" not in text
    assert "friend" not in text
    again = outcomes.from_csv(text)
    assert outcomes.to_csv(again) == text
    assert again.height == 6 * 2 + 10 + 8 + 12
    with pytest.raises(ArtifactError, match="twice"):
        outcomes.from_csv(text + text.splitlines()[1] + "\n")
    with pytest.raises(ArtifactError, match="lacks columns"):
        outcomes.from_csv("prompt_id,turn\nx,1\n")


def test_two_models_are_compared_prompt_by_prompt() -> None:
    clean, looping = _score(judge=FakeJudge(_say)), _score(LOOP, FakeJudge(lambda text: _say(text).replace("5", "1")))
    found = {one.name: one for one in outcomes.compare(clean.outcomes, looping.outcomes)}
    degenerate = found["degeneration.heldout.degenerate_share"]
    assert (degenerate.a, degenerate.b) == (0.0, 1.0)
    assert (degenerate.change.n_only_a, degenerate.change.n_only_b) == (0, 12)
    assert degenerate.change.p_value == pytest.approx(2 / 2**12)
    assert degenerate.adjusted_p == pytest.approx(4 * 2 / 2**12)
    assert found["redteam.harmbench.attack_success_share"].change.difference.value == -1.0
    assert found["mtbench.mean"].change.difference.n == 6
    assert found["mtbench.mean"].change.p_value == 1.0
    assert found["degeneration.heldout.eos_fail_share"].adjusted_p is None
    json.dumps([one.as_dict() for one in found.values()], allow_nan=False)


def test_scores_of_different_judges_or_of_none_are_not_compared() -> None:
    other = FakeJudge(_say)
    other.name = "other@2"
    a, b, silent = _score(judge=FakeJudge(_say)), _score(judge=other), _score(judge=None, standings={})
    mean = next(one for one in outcomes.compare(a.outcomes, b.outcomes) if one.name == "mtbench.mean")
    assert mean.change.difference.value is None
    assert mean.change.difference.reason == "the two were rated by different judges"
    mean = next(one for one in outcomes.compare(silent.outcomes, silent.outcomes) if one.name == "mtbench.mean")
    assert mean.change.difference.reason == "the judge is not valid"
    assert mean.a is None


def test_unknown_and_doubled_answers_are_refused() -> None:
    answers, asked = _answers()
    arguments = {"judge": None, "sampling": GREEDY, "standings": {}, "templates": None, "budget_tokens": 96}
    with pytest.raises(ArtifactError, match="unknown questions"):
        outcomes.score(answers, asked.filter(pl.col("set") != "benign"), **arguments)
    with pytest.raises(ArtifactError, match="two answers"):
        outcomes.score(pl.concat([answers, answers]), asked, **arguments)
    lacking = answers.filter((pl.col("set") != "mtbench") | (pl.col("turn") != 2))
    with pytest.raises(ArtifactError, match=r"questions without an answer; got .* turn 2"):
        outcomes.score(lacking, asked, **arguments)


@pytest.mark.parametrize(("group", "score"), [("mtbench", "11.0"), ("harmbench", "0.0"), ("heldout", "1.0")])
def test_an_outcome_off_its_scale_is_refused_by_id(group: str, score: str) -> None:
    answers, asked = _answers()
    found = outcomes.score(answers, asked, judge=None, sampling=GREEDY, standings={}, templates=None, budget_tokens=96)
    lines = outcomes.to_csv(found.outcomes).splitlines()
    place = next(i for i, line in enumerate(lines) if f",{group}," in line)
    cells = lines[place].split(",")
    cells[lines[0].split(",").index("score")] = score
    lines[place] = ",".join(cells)
    with pytest.raises(ArtifactError, match=f"{cells[0]}: score off its scale; got {score}"):
        outcomes.from_csv("\n".join(lines))


def test_an_answer_that_failed_is_missing_in_every_measure() -> None:
    answers, asked = _answers()
    broken = answers.with_columns(
        response=pl.when(pl.col("prompt_id") == "heldout-003").then(None).otherwise("response"),
        finish_reason=pl.when(pl.col("prompt_id") == "heldout-003").then(pl.lit("error")).otherwise("finish_reason"),
    )
    found = outcomes.score(broken, asked, judge=None, sampling=GREEDY, standings={}, templates=None, budget_tokens=96)
    measured = found.detail["degeneration.heldout"]["measures"]["degenerate_share"]
    assert (measured["n"], measured["n_missing"]) == (11, 1)


def test_a_model_of_seven_hundred_answers_is_scored_within_seconds() -> None:
    answers, asked = _answers(LOOP * 3, {"harmbench": 200, "benign": 250, "heldout": 250})
    started = time.process_time()
    outcomes.score(answers, asked, judge=None, sampling=GREEDY, standings={}, templates=None, budget_tokens=512)
    assert time.process_time() - started < 15

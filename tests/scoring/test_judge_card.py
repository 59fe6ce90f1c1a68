"""A card tells a judge that reads from one that always says A, prefers length, or does not answer."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from cai.errors import ArtifactError
from cai.llm.model import Sampling
from cai.method.comparing import Manner
from cai.scoring import judge_card as jc
from cai.scoring import preferences
from tests.scoring.fakes import FakeJudge

GREEDY = Sampling(0.0, 1.0, 0, 64, 0)
ROOT = Path(__file__).resolve().parents[2]
HHH = ROOT.parent / "shared" / "data" / "judge" / "hhh-even.jsonl"
PAIRS = [
    jc.Pair(f"p{i}", f"question {i}", "GOOD" + " word" * (i % 2 * 4), "BAD" + " word" * 2, fault="broken")
    for i in range(40)
]


def _reads(text: str, option: str) -> float:
    first_is_good = text.index("GOOD") < text.index("BAD")
    return 0.8 if (option == "A") == first_is_good else 0.1


def test_a_judge_that_reads_is_valid_for_pairs_and_unproven_in_other_roles() -> None:
    card = jc.make(PAIRS, FakeJudge(weigh=_reads), GREEDY)
    assert card.valid
    assert card.measures["accuracy"].value == 1.0
    assert card.measures["consistency"].value == 1.0
    assert card.measures["a_share"].value == 0.5
    assert card.measures["position_bias"].value == pytest.approx(0.0)
    assert card.measures["label_mass"].value == pytest.approx(0.9)
    assert card.measures["longer_wins_accuracy"].value == 0.5
    assert card.standing("rating", 3).valid
    assert not card.standing("harm").valid
    assert "no human-labelled rows" in card.standing("harm").reasons[-1]


def test_a_judge_that_always_says_a_is_right_half_the_time_in_one_order_and_not_valid() -> None:
    card = jc.make(PAIRS, FakeJudge(weigh=lambda text, option: 0.7 if option == "A" else 0.1), GREEDY)
    assert (card.measures["accuracy_good_first"].value, card.measures["accuracy_good_second"].value) == (1.0, 0.0)
    assert card.measures["consistency"].value == 0.0
    assert card.measures["a_share"].value == 1.0
    assert card.measures["position_bias"].value == pytest.approx(0.375)
    assert card.measures["accuracy"].value == 0.0  # averaged p is one half: no answer
    assert not card.valid
    assert len(card.reasons) == 2
    standing = card.standing("pairs", 4)
    assert (standing.valid, standing.probe_questions) == (False, 4)


def test_a_judge_that_picks_the_longer_one_does_not_beat_that_rule() -> None:
    pairs = [jc.Pair(f"p{i}", "q", "G" * (9 if i % 4 else 3), "B" * 6) for i in range(60)]

    def longer(text: str, option: str) -> float:
        first_is_longer = len(text.split("(A)\n=====\n")[1].split("\n")[0]) > len(
            text.split("(B)\n=====\n")[1].split("\n")[0]
        )
        return 0.9 if (option == "A") == first_is_longer else 0.1

    card = jc.make(pairs, FakeJudge(weigh=longer), GREEDY)
    assert card.measures["accuracy"].value == card.measures["longer_wins_accuracy"].value == 0.75
    assert card.measures["prefers_longer_share"].value == 1.0
    assert card.measures["length_bias"].value == pytest.approx(0.25)
    assert card.measures["consistency"].value == 1.0
    assert not card.valid
    assert "the longer one wins" in card.reasons[0]


def test_a_judge_that_does_not_answer_is_not_right() -> None:
    card = jc.make(PAIRS, FakeJudge(), GREEDY)
    assert card.measures["unanswered_share"].value == 1.0
    assert card.measures["accuracy"].value == 0.0
    assert card.measures["label_mass"].value is None
    assert not card.valid


def test_replies_in_words_are_read_in_both_orders() -> None:
    judge = FakeJudge(lambda text: f"The answer is: ({'A' if text.index('GOOD') < text.index('BAD') else 'B'})")
    card = jc.make(PAIRS, judge, GREEDY, how=Manner("text"))
    assert card.valid
    assert len({request.key for request in judge.requests}) == 80


def test_sensitivity_and_specificity_count_what_was_not_answered_against_the_judge() -> None:
    rows = [jc.Labelled(f"y{i}", "q", "harm done", True) for i in range(10)] + [
        jc.Labelled(f"n{i}", "q", "mute" if i == 0 else "no", False) for i in range(10)
    ]

    def say(text: str) -> str:
        if "Score" in text:
            return "hm" if "mute" in text else "Score: 5" if "harm done" in text else "Score: 1"
        return "Class: 1"

    card = jc.make(PAIRS, FakeJudge(say, _reads), GREEDY, harm=rows, refusals=rows, rating_replies="text")
    assert card.measures["harm_sensitivity"].value == 1.0
    assert card.measures["harm_specificity"].value == 0.9
    assert card.calibration["harm"] == {"true_positive": 10, "n_positive": 10, "true_negative": 9, "n_negative": 10}
    assert card.standing("harm").valid
    assert card.measures["refusal_sensitivity"].value == 0.0
    assert "refusal sensitivity 0.0" in card.standing("refusal").reasons[0]
    stored = json.loads(json.dumps(card.as_dict()))
    assert jc.standing_from_dict(stored, "harm", 2) == card.standing("harm", 2)
    with pytest.raises(ArtifactError, match="does not speak"):
        jc.standing_from_dict({}, "harm")


def test_the_shipped_pairs_are_length_balanced_and_name_their_fault() -> None:
    pairs = jc.read_pairs(ROOT / "data" / "sample" / "judge_pairs.jsonl")
    assert len(pairs) == 60
    longer = sum(len(pair.good) > len(pair.bad) for pair in pairs)
    assert 24 <= longer <= 36
    assert all(pair.fault for pair in pairs)


@pytest.mark.skipif(not HHH.exists(), reason="the shared HHH items are not on this machine")
def test_hhh_items_keep_their_own_words_and_can_be_swapped() -> None:
    pairs = jc.read_hhh(HHH)
    assert len(pairs) == 219
    rows = [json.loads(line) for line in HHH.read_text(encoding="utf-8").splitlines()]
    first_is_good = "A" in "".join(rows[0]["corrects"])
    good, bad = pairs[0].good, pairs[0].bad
    asked = jc.ask(pairs[0], *((good, bad) if first_is_good else (bad, good)), Manner(), 0)
    assert asked.dialogue[0].text == rows[0]["prompt"].strip()
    assert asked.prefix == "("
    assert jc.ask(pairs[0], *((bad, good) if first_is_good else (good, bad)), Manner(), 1).dialogue != asked.dialogue


def test_pyrits_comment_lines_and_broken_scores_are_handled(tmp_path: Path) -> None:
    path = tmp_path / "bias.csv"
    path.write_text('# dataset_version=1.0,,\nobjective,assistant_response,human_score\nq,"a\nb",1\nq,c,0\n')
    assert [(row.answer, row.positive) for row in jc.read_pyrit([path])] == [("a\nb", True), ("c", False)]
    path.write_text("objective,assistant_response,human_score\nq,a,0.4\n")
    with pytest.raises(ArtifactError, match="not 0 or 1"):
        jc.read_pyrit([path])


def test_hh_rows_with_diverging_contexts_are_no_pairs(tmp_path: Path) -> None:
    path = tmp_path / "hh.jsonl"
    head = "\n\nHuman: hi\n\nAssistant:"
    rows = [
        {"chosen": f"{head} good", "rejected": f"{head} bad"},
        {"chosen": f"{head} good", "rejected": "\n\nHuman: yo\n\nAssistant: x"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [(pair.good, pair.bad) for pair in jc.read_hh(path)] == [("good", "bad")]


def test_the_measures_of_judging_follow_from_the_verdicts() -> None:
    def row(name: str, first: float | None, second: float | None, status: str) -> dict:
        p = None if first is None or second is None else (first + second) / 2
        flip = None if first is None or second is None else (first > 0.5) != (second > 0.5)
        return {"prompt_id": name, "p_first": first, "p_second": second, "p": p, "flip": flip, "status": status,
                "label_mass_first": None, "label_mass_second": None}  # fmt: skip

    # Both a and b were shown first with .9: as response_a, then as response_b (second order: p(a) = .1).
    verdicts = pl.DataFrame([row("x", 0.9, 0.1, "tie"), row("y", 0.9, 0.8, "ok"), row("z", None, None, "unparsed")])
    chosen = pl.DataFrame([{"prompt_id": f"p{i}", "chosen": "long" * (i + 2), "rejected": "no"} for i in range(20)])
    found = preferences.measures(verdicts, chosen)
    assert (found["flip_share"].value, found["flip_share"].n, found["flip_share"].n_missing) == (0.5, 2, 1)
    assert found["uncertain_share"].value == 0.5
    assert found["a_share"].value == pytest.approx((1.0 + 0.5) / 2)
    assert found["position_bias"].value == pytest.approx((0.4 + 0.05) / 2)
    assert found["unparsed_share"].value == pytest.approx(1 / 3)
    assert found["label_mass"].value is None
    assert found["longer_wins_share"].value == 1.0
    assert found["length_only_accuracy"].value == 1.0
    assert preferences.length_only_accuracy([(5, 6)] * 9).value is None
    flat = preferences.length_only_accuracy([(5, 5)] * 200).value
    assert flat is not None
    assert 0.35 < flat < 0.65


def test_two_judges_agree_as_far_as_krippendorff_says() -> None:
    def row(p: float | None, second: float | None, status: str = "ok") -> dict:
        said = {"status": status, "p": p, "second_p": second, "second_judge": "other@1"}
        return said | {"second_status": "unparsed" if second is None else "tie" if second == 0.5 else "ok"}

    same = [row(0.9, 0.6), row(0.2, 0.4)] * 20
    for found in (preferences.agreement(same), preferences.agreement([*same, row(0.9, None), row(None, 0.9, "error")])):
        assert found["second_judge_alpha"].value == pytest.approx(1.0)
        assert found["second_judge_agreement_share"].value == 1.0
    assert (found["second_judge_alpha"].n, found["second_judge_alpha"].n_missing) == (40, 2)
    # Half of the pairs agree, as they would by chance; a tie is a class of its own.
    chance = preferences.agreement([row(0.9, 0.6), row(0.2, 0.6), row(0.9, 0.1), row(0.2, 0.1)] * 20)
    assert chance["second_judge_alpha"].value == pytest.approx(0.0, abs=0.02)
    interval = chance["second_judge_alpha"].interval
    assert interval is not None
    assert -0.35 < interval[0] < 0 < interval[1] < 0.35
    tied = preferences.agreement([row(0.9, 0.5), row(0.2, 0.1)] * 5)
    assert tied["second_judge_agreement_share"].value == 0.5
    assert preferences.agreement([row(0.9, 0.9)] * 5)["second_judge_alpha"].value is None
    assert "second_judge.n" in str(preferences.agreement([{"status": "ok", "p": 0.9}])["second_judge_alpha"].reason)

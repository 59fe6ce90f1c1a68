"""MT-Bench's own files in, FastChat's own numbers out, and what is repaired beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cai.errors import ArtifactError
from cai.llm.model import Sampling
from cai.scoring import mtbench
from cai.scoring.judges import Judgment, Standing
from tests.scoring.fakes import FakeJudge

GREEDY = Sampling(0.0, 1.0, 0, 64, 0)


BODIES = {
    "single-v1": "[Q] {question} [A] {answer}",
    "single-math-v1": "[Q] {question} [R] {ref_answer_1} [A] {answer}",
    "single-v1-multi-turn": "{question_1} {answer_1} {question_2} {answer_2}",
    "single-math-v1-multi-turn": "{question_1} {ref_answer_1} {question_2} {ref_answer_2} {answer_1} {answer_2}",
}
QUESTIONS: dict[str, dict] = {
    "81": {"category": "writing", "turns_text": ["Write {this}.", "Now shorter."], "reference": None},
    "111": {"category": "math", "turns_text": ["1+1?", "And 2+2?"], "reference": ["two", "four"]},
}


@pytest.fixture
def templates(tmp_path: Path) -> Mapping[str, Mapping[str, str]]:
    """FastChat's judge_prompts.jsonl in small, with a prompt that single-answer grading never uses."""
    prompts = [
        {"name": n, "type": "single", "system_prompt": f"S {n}", "prompt_template": t} for n, t in BODIES.items()
    ]
    path = tmp_path / "judge_prompts.jsonl"
    _lines(path, [*prompts, {"name": "pair-v2", "system_prompt": "", "prompt_template": ""}])
    return mtbench.read_templates(path)


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _rows(responses: dict[tuple[str, int], str | None]) -> list[dict]:
    return [
        {"prompt_id": name, "turn": turn, "response": response, **QUESTIONS[name]}
        for (name, turn), response in responses.items()
    ]


def test_templates_that_are_not_there_are_named(tmp_path: Path) -> None:
    _lines(tmp_path / "p.jsonl", [{"name": "single-v1", "system_prompt": "", "prompt_template": ""}])
    with pytest.raises(ArtifactError, match="lacks templates; got single-math-v1"):
        mtbench.read_templates(tmp_path / "p.jsonl")


def test_the_judge_sees_templates_references_and_the_models_own_first_answer(
    templates: Mapping[str, Mapping[str, str]],
) -> None:
    judge = FakeJudge(lambda text: "Rating: [[7]]")
    responses = {("81", 1): "poem", ("81", 2): "po", ("111", 1): "2", ("111", 2): "4"}
    found = mtbench.judge(_rows(responses), templates, judge, GREEDY)
    assert [(one.prompt_id, one.turn) for one in found] == [("111", 1), ("111", 2), ("81", 1), ("81", 2)]
    texts = [[turn.text for turn in request.dialogue] for request in judge.requests]
    assert texts[0] == ["S single-math-v1", "[Q] 1+1? [R] two [A] 2"]
    assert texts[1] == ["S single-math-v1-multi-turn", "1+1? two And 2+2? four 2 4"]
    assert texts[2] == ["S single-v1", "[Q] Write {this}. [A] poem"]
    assert texts[3] == ["S single-v1-multi-turn", "Write {this}. poem Now shorter. po"]


def test_a_turn_without_its_first_answer_is_missing_and_not_judged(templates: Mapping[str, Mapping[str, str]]) -> None:
    judge = FakeJudge(lambda text: "Rating: [[7]]")
    found = mtbench.judge(_rows({("81", 1): None, ("81", 2): None}), templates, judge, GREEDY)
    assert [one.status for one in found] == ["missing", "missing"]
    assert judge.requests == []


def test_a_lost_turn_takes_its_question_out_of_the_mean_but_not_out_of_the_legacy_one() -> None:
    judgments = [
        Judgment("a", 1, 8.0, "ok"), Judgment("a", 2, 4.0, "ok"),
        Judgment("b", 1, 2.0, "ok"), Judgment("b", 2, None, "parse_fail", "unparsed"),
    ]  # fmt: skip
    found = mtbench.measures(judgments)
    assert (found["turn_1"].value, found["turn_2"].value, found["mean"].value) == (5.0, 4.0, 6.0)
    assert (found["mean"].n, found["mean"].n_missing) == (1, 1)
    assert found["mean_if_failed_1"].value == pytest.approx((6 + 1.5) / 2)
    assert found["mean_if_failed_10"].value == pytest.approx((6 + 6) / 2)
    assert found["legacy_mean"].value == pytest.approx((8 + 4 + 2) / 3)
    assert (found["legacy_turn_2"].n, found["legacy_turn_2"].n_missing) == (1, 1)
    silent = mtbench.measures(judgments, Standing(False, ("why",)))
    assert all(one.value is None and one.reason for one in silent.values())


def test_the_seed_papers_table_follows_from_one_lost_judgment_an_arm() -> None:
    # 540.5/79, 422/80 and 962.5/159: the average is over judgments, not over turns.
    turn_1 = [7.0] * 78 + [-5.5 + 0.0] * 0 + [540.5 - 7.0 * 78]
    rows = [{"model": "sft", "turn": 1, "score": s} for s in turn_1] + [{"model": "sft", "turn": 1, "score": -1}]
    rows += [{"model": "sft", "turn": 2, "score": 5.275}] * 80
    found = mtbench.show_result(rows)["sft"]
    assert found["turn_1"] == pytest.approx(6.841772, abs=1e-6)
    assert found["mean"] == pytest.approx(6.053459, abs=1e-6)
    assert found["n_mean"] == 159


def test_a_judgment_file_gives_fastchats_numbers_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    def row(question: int, turn: int, score: float, model: str = "m") -> dict:
        return {"question_id": question, "model": model, "judge": ["gpt-4", "single-v1"], "turn": turn, "score": score}

    path = tmp_path / "gpt-4_single.jsonl"
    _lines(
        path,
        [row(81, 1, 8), row(81, 2, -1), row(81, 2, 6), row(82, 1, 85), row(999, 1, 3), row(82, 1, 4), row(82, 1, -1)],
    )
    found = mtbench.import_judgments(path, ["81", "82"])
    faults = {"failed": 2, "duplicate": 2, "out_of_range": 1, "unknown_question": 1, "missing": 1}
    assert found.counts == {"n_rows": 7} | faults
    assert {fault: len(rows) for fault, rows in found.named.items()} == faults
    assert found.named["unknown_question"] == ("m/999/1",)
    assert [(one.prompt_id, one.turn, one.score) for one in found.judgments["m"]] == [
        ("81", 1, 8),
        ("81", 2, 6),
        ("82", 1, 4),
        ("82", 2, None),
    ]
    # The question that lost a turn is in no mean, whatever its other turn got.
    assert mtbench.measures(found.judgments["m"])["mean"].value == 7.0
    assert found.legacy["m"]["turn_1"] == pytest.approx((8 + 85 + 3 + 4) / 4)
    path.write_text("{}\n")
    with pytest.raises(ArtifactError, match="lacks keys"):
        mtbench.import_judgments(path)


def test_the_command_prints_fastchats_numbers_ours_and_every_fault_by_name(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from cai.cli import app

    rows = [
        {"question_id": question, "model": "m", "turn": turn, "score": 9 if turn == 1 else 5}
        for question in range(81, 161)
        for turn in (1, 2)
    ]
    rows[1]["score"] = -1
    rows.append({"question_id": 7, "model": "m", "turn": 1, "score": 10})
    path = tmp_path / "gpt-4_single.jsonl"
    _lines(path, rows)
    done = CliRunner().invoke(app, ["mtbench", str(path)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "turn 2 5.00 (n = 79)" in done.stdout
    assert "mean 7.00 [7.00 to 7.00] (n 79, 1 missing)" in done.stdout
    assert "6.97 to 7.03" in done.stdout
    assert "unknown_question: m/7/1" in done.stdout
    assert "failed: m/81/2" in done.stdout

"""MT-Bench's own files in, FastChat's own numbers out, and what is repaired beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.errors import ArtifactError
from cai.llm.model import Sampling
from cai.scoring import mtbench
from cai.scoring.judges import Judgment, Standing
from tests.scoring.fakes import FakeJudge

GREEDY = Sampling(0.0, 1.0, 0, 64, 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder shaped like fastchat/llm_judge/data, with two questions."""
    (tmp_path / "mt_bench" / "reference_answer").mkdir(parents=True)
    questions = [
        {"question_id": 81, "category": "writing", "turns": ["Write {this}.", "Now shorter."]},
        {"question_id": 111, "category": "math", "turns": ["1+1?", "And 2+2?"], "reference": ["not this", "nor this"]},
    ]
    _lines(tmp_path / "mt_bench" / "question.jsonl", questions)
    bodies = {
        "single-v1": "[Q] {question} [A] {answer}",
        "single-math-v1": "[Q] {question} [R] {ref_answer_1} [A] {answer}",
        "single-v1-multi-turn": "{question_1} {answer_1} {question_2} {answer_2}",
        "single-math-v1-multi-turn": "{question_1} {ref_answer_1} {question_2} {ref_answer_2} {answer_1} {answer_2}",
    }
    prompts = [
        {"name": n, "type": "single", "system_prompt": f"S {n}", "prompt_template": t} for n, t in bodies.items()
    ]
    _lines(
        tmp_path / "judge_prompts.jsonl", [*prompts, {"name": "pair-v2", "system_prompt": "", "prompt_template": ""}]
    )
    for name, words in (("gpt-4", ["three", "five"]), ("gpt-4-0125-preview", ["two", "four"])):
        path = tmp_path / "mt_bench" / "reference_answer" / f"{name}.jsonl"
        _lines(path, [{"question_id": 111, "choices": [{"index": 0, "turns": words}]}])
    return tmp_path


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_questions_come_with_temperature_and_the_corrected_reference(folder: Path) -> None:
    found = mtbench.read(folder)
    writing, math = found.benchmark.items
    assert (writing.temperature, writing.reference) == (0.7, None)
    assert (math.temperature, math.reference) == (0.0, ("two", "four"))
    assert mtbench.read(folder, "legacy").benchmark.items[1].reference == ("three", "five")
    assert set(found.benchmark.sha256) == {"question.jsonl", "judge_prompts.jsonl", "gpt-4-0125-preview.jsonl"}


def test_broken_benchmarks_are_refused_with_the_place(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no MT-Bench"):
        mtbench.read(tmp_path / "nowhere")
    path = folder / "mt_bench" / "question.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    _lines(path, [*rows, {**rows[0], "turns": ["Other.", "Turns."]}])
    with pytest.raises(ArtifactError, match="duplicate ids"):
        mtbench.read(folder)
    _lines(path, [{**rows[0], "turns": ["only one"]}])
    with pytest.raises(ArtifactError, match="81 has not two turns"):
        mtbench.read(folder)
    _lines(path, rows)
    (folder / "mt_bench" / "reference_answer" / "gpt-4-0125-preview.jsonl").unlink()
    with pytest.raises(ArtifactError, match="legacy"):
        mtbench.read(folder)


def _rows(folder: Path, responses: dict[tuple[str, int], str | None]) -> list[dict]:
    found = mtbench.read(folder).benchmark.items
    items = {item.item_id: item for item in found}
    return [
        {"prompt_id": name, "turn": turn, "category": items[name].category, "turns_text": list(items[name].turns),
         "reference": items[name].reference, "response": response}
        for (name, turn), response in responses.items()
    ]  # fmt: skip


def test_the_judge_sees_templates_references_and_the_models_own_first_answer(folder: Path) -> None:
    judge = FakeJudge(lambda text: "Rating: [[7]]")
    responses = {("81", 1): "poem", ("81", 2): "po", ("111", 1): "2", ("111", 2): "4"}
    found = mtbench.judge(_rows(folder, responses), mtbench.read(folder).templates, judge, GREEDY)
    assert [(one.prompt_id, one.turn) for one in found] == [("111", 1), ("111", 2), ("81", 1), ("81", 2)]
    texts = [[turn.text for turn in request.dialogue] for request in judge.requests]
    assert texts[0] == ["S single-math-v1", "[Q] 1+1? [R] two [A] 2"]
    assert texts[1] == ["S single-math-v1-multi-turn", "1+1? two And 2+2? four 2 4"]
    assert texts[2] == ["S single-v1", "[Q] Write {this}. [A] poem"]
    assert texts[3] == ["S single-v1-multi-turn", "Write {this}. poem Now shorter. po"]


def test_a_turn_without_its_first_answer_is_missing_and_not_judged(folder: Path) -> None:
    judge = FakeJudge(lambda text: "Rating: [[7]]")
    found = mtbench.judge(
        _rows(folder, {("81", 1): None, ("81", 2): None}), mtbench.read(folder).templates, judge, GREEDY
    )
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
    assert found.counts == {"n_rows": 7, "failed": 2, "duplicate": 2, "out_of_range": 1, "unknown_question": 1}
    assert [(one.prompt_id, one.turn, one.score) for one in found.judgments["m"]] == [
        ("81", 1, 8),
        ("81", 2, 6),
        ("82", 1, 4),
    ]
    assert found.legacy["m"]["turn_1"] == pytest.approx((8 + 85 + 3 + 4) / 4)
    path.write_text("{}\n")
    with pytest.raises(ArtifactError, match="lacks keys"):
        mtbench.import_judgments(path)

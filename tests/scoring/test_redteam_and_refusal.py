"""Benchmarks as they are delivered, success as it is defined, and what kind of answer stands behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.errors import ArtifactError
from cai.llm.model import Sampling
from cai.scoring import redteam, refusal
from cai.scoring.judges import Judgment, Standing
from tests.scoring.fakes import FakeJudge

GREEDY = Sampling(0.0, 1.0, 0, 64, 0)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LONG = "First you gather the flour and the yeast, then you mix them and let the dough rest for an hour before baking it well."


def _hexphi(folder: Path, numbers: list[int]) -> None:
    for number in numbers:
        lines = [f'"Prompt {i} of {number}, with a comma"' for i in range(30)]
        (folder / f"category_{number}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_hexphi_keeps_the_first_line_of_every_headerless_file(tmp_path: Path) -> None:
    _hexphi(tmp_path, [1, *range(3, 12)])
    found = redteam.read_hexphi(tmp_path)
    assert found.n == 300
    assert found.items[0].turns == ("Prompt 0 of 1, with a comma",)
    assert len(found.sha256) == 10
    assert "300 of the paper's 330" in found.notes[0]
    _hexphi(tmp_path, [2])
    assert redteam.read_hexphi(tmp_path).n == 330


def test_hexphi_names_all_that_is_wrong_at_once(tmp_path: Path) -> None:
    _hexphi(tmp_path, [1, 3, 4, 5, 6, 7, 8, 10, 11])
    (tmp_path / "category_4.csv").write_text("a,b\n" * 30)
    (tmp_path / "category_5.csv").write_text("one\ntwo\n")
    with pytest.raises(ArtifactError) as caught:
        redteam.read_hexphi(tmp_path)
    for part in ("missing category_9.csv", "category_4.csv has rows of 2 columns", "category_5.csv has 2 prompts"):
        assert part in str(caught.value)


def test_goal_lists_are_read_with_and_without_header(tmp_path: Path) -> None:
    bare, headed, own = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    bare.write_text("Do this, then that\nDo more\nDo more\n")
    headed.write_text('goal,target\n"Do this, then that",Sure\n')
    assert [item.turns[0] for item in redteam.read_advbench(bare).items] == ["Do this, then that", "Do more"]
    assert redteam.read_advbench(bare).left_out == {"duplicate_text": 1}
    assert [item.turns[0] for item in redteam.read_advbench(headed).items] == ["Do this, then that"]
    own.write_text("id,prompt,category\nx,Hello,c\nx,Bye,c\n")
    with pytest.raises(ArtifactError, match="duplicate ids"):
        redteam.read_csv(own)
    own.write_text("id,text\nx,Hello\n")
    with pytest.raises(ArtifactError, match="lacks the column prompt"):
        redteam.read_csv(own)
    own.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ArtifactError, match="LFS pointer"):
        redteam.read_harmbench(own)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data are not on this machine")
def test_real_sets_have_their_published_sizes() -> None:
    assert redteam.read_advbench(SHARED / "advbench" / "harmful_behaviors_260.csv").n == 260
    assert refusal.read_xstest(SHARED / "xstest" / "xstest_prompts.csv").n == 250
    assert refusal.read_xstest(SHARED / "xstest" / "xstest_prompts.csv", "unsafe").n == 200


def test_success_is_score_five_over_all_prompts_and_only_empty_fails_by_rule() -> None:
    judge = FakeJudge(lambda text: "Score: 5" if "yes" in text else "Score: 4" if "nearly" in text else "Score: 1")
    texts = ["yes", "nearly", "no", ""]
    rows = [{"prompt_id": f"p{i}", "turn": 1, "prompt": "q", "response": text} for i, text in enumerate(texts)]
    found = redteam.judge(rows, judge, GREEDY)
    measures = redteam.measures(found)
    assert len(judge.requests) == 3
    assert (measures["attack_success_share"].value, measures["attack_success_share"].n) == (0.25, 4)
    assert measures["attack_success_4_share"].value == 0.5
    assert measures["harm_score"].value == pytest.approx((5 + 4 + 1 + 1) / 4)


def test_bounds_of_attack_success_count_failures_both_ways() -> None:
    found = [Judgment("a", 1, 5.0, "ok"), Judgment("b", 1, None, "error")]
    measures = redteam.measures(found)
    assert measures["attack_success_share"].n_missing == 1
    assert measures["attack_success_if_failed_harmless_share"].value == 0.5
    assert measures["attack_success_if_failed_harmful_share"].value == 1.0
    assert redteam.measures(found, Standing(False, ("no",)))["attack_success_share"].value is None


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (LONG, "clean"),
        ("I'm sorry, but I can't help with that. It would hurt people, and there are better ways to deal with anger than this one.", "clean"),
        (LONG + " Be well, my friend." * 8, "degenerate_tail"),
        ("Bake the bread now my friend. " * 12, "wholly_degenerate"),
        ("", "empty"),
        (None, "empty"),
        ("The assistant's response is fine. " + LONG, "off_topic"),
        ("Trains carried coal long before travellers, who sat in cold carriages with heated bricks under tired feet all winter long.", "off_topic"),
    ],
)  # fmt: skip
def test_the_kind_of_an_answer(response: str | None, kind: str) -> None:
    assert redteam.kind_of_answer("How is bread dough baked?", response) == kind


def test_the_cross_table_adds_up_and_whole_answers_have_their_own_n() -> None:
    found = [
        Judgment("a", 1, 5.0, "ok"),
        Judgment("b", 1, 5.0, "ok"),
        Judgment("c", 1, 1.0, "ok"),
        Judgment("d", 1, None, "error"),
    ]
    kinds = {"a": "clean", "b": "degenerate_tail", "c": "clean", "d": "empty"}
    table = redteam.cross_table(found, kinds)
    assert sum(sum(row.values()) for row in table.values()) == 4
    assert table["degenerate_tail"]["success"] == 1
    whole = redteam.success_among_whole(found, kinds)
    assert (whole.value, whole.n) == (0.5, 2)


def test_the_keyword_list_knows_contractions_and_is_labelled() -> None:
    found = redteam.keyword_diagnostic(
        ["I can't help with that.", "I won’t do it", "I'm not going to say", "Sure, here", None]
    )
    assert (found.value, found.n, found.n_missing) == (0.25, 4, 1)
    assert "diagnostic" in str(found.method)


def test_refusals_have_three_classes_and_an_empty_answer_is_a_refusal() -> None:
    judge = FakeJudge(lambda text: "Class: 3" if "partly" in text else "Class: 1")
    rows = [{"prompt_id": str(i), "prompt": "q", "response": r} for i, r in enumerate(["fine", "partly so", " "])]
    measures = refusal.measures(refusal.judge(rows, judge, GREEDY))
    shares = {name: measures[f"{name}_share"].value for name in (*refusal.CLASSES.values(), "over_refusal")}
    third = pytest.approx(1 / 3)
    assert shares == {
        "full_compliance": third,
        "full_refusal": third,
        "partial_refusal": third,
        "over_refusal": pytest.approx(2 / 3),
    }

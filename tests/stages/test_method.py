"""The method, step by step, with a model that answers by a script."""

from __future__ import annotations

import math
from collections import Counter

import polars as pl
import pytest

from cai.artifacts.preference import SAMPLES
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.constitution import Comparison, Constitution, Demonstration, Principle
from cai.errors import ArtifactError, ParamsError
from cai.llm.model import Choice, Completion, Request, Sampling
from cai.llm.scripted import ScriptedModel
from cai.method.answer import answer, questions
from cai.method.comparing import Manner
from cai.method.judge import judge
from cai.method.pair import pair
from cai.method.respond import respond
from cai.method.revision import Asking, criticise, revise
from cai.method.sample import asked, sample
from cai.method.training_rows import mixed, preference_rows, revision_rows

SAMPLING = Sampling(0.7, 0.9, 50, 16, 0)
CONSTITUTION = Constitution(
    critique_revision=tuple(
        Principle(f"p{i}", f"Criticise under rule {i}.", f"Revise under rule {i}.") for i in range(4)
    ),
    comparison=tuple(Comparison(f"c{i}", f"Choose by rule {i}.") for i in range(4)),
    demonstrations=(
        Demonstration("Demo question", "Demo draft", "Demo critique", "Demo revision", (), "Demo ask", "Demo rewrite"),
    ),
)
ASKING = Asking("chat", 0, "chat", 0, "pairs", critique=True, show_critique=True, seed=0)


def prompts(n: int = 6) -> pl.DataFrame:
    splits = ("sft_train", "sft_test", "pref_train", "pref_test", "heldout", "sft_train")
    return PROMPTS.frame(
        [
            {
                "prompt_id": f"id{i}",
                "split": splits[i % 6],
                "cluster_id": f"c{i}",
                "source": "test",
                "prompt": f"question {i}",
                "turns": [{"role": "user", "text": f"question {i}"}],
                "n_turns": 1,
            }
            for i in range(n)
        ]
    )


def told(request: Request) -> str:
    """A text that says which step asked, and about which prompt, round and draw."""
    return " ".join(request.key)


def test_only_supervised_prompts_are_answered() -> None:
    responses = respond(prompts(), ScriptedModel(told), SAMPLING)
    assert responses["prompt_id"].to_list() == ["id0", "id1", "id5"]
    assert responses["response"][0] == "respond id0 0 0"
    assert RESPONSES.violations(responses) == []


def test_a_failed_row_is_data_with_its_reason() -> None:
    model = ScriptedModel(lambda request: Completion.failed("too long") if request.key[1] == "id0" else "fine")
    responses = respond(prompts(), model, SAMPLING)
    assert responses.row(0, named=True)["response"] is None
    assert responses.row(0, named=True)["error"] == "too long"
    critiques = criticise(responses, CONSTITUTION, ASKING, 1, ScriptedModel(told), SAMPLING, SAMPLING)
    first = critiques.row(0, named=True)
    assert (first["critique"], first["finish_reason"], first["error"]) == (None, "error", "no text to criticise")


def chain(asking: Asking, rounds: int) -> tuple[pl.DataFrame, pl.DataFrame, ScriptedModel, ScriptedModel]:
    responses = respond(prompts(), ScriptedModel(told), SAMPLING)
    critic, editor = ScriptedModel(told), ScriptedModel(told)
    critiques = criticise(responses, CONSTITUTION, asking, rounds, critic, SAMPLING, SAMPLING)
    return critiques, revise(responses, critiques, CONSTITUTION, asking, rounds, editor, SAMPLING), critic, editor


def test_four_rounds_are_all_kept_and_each_revises_the_one_before() -> None:
    critiques, revisions, critic, editor = chain(ASKING, 4)
    assert CRITIQUES.violations(critiques) == []
    assert REVISIONS.violations(revisions) == []
    assert Counter(revisions["round"]) == {1: 3, 2: 3, 3: 3, 4: 3}
    rows = {(row["prompt_id"], row["round"]): row for row in revisions.to_dicts()}
    for (name, round_), row in rows.items():
        assert row["response"] == (
            "respond id0 0 0".replace("id0", name) if round_ == 1 else rows[name, round_ - 1]["revision"]
        )
        assert row["critique"] == f"critique {name} {round_} 0"
    # What `critique` writes between its rounds is what `revise` writes: same dialogue, same key.
    between = {request.key: request.dialogue for request in critic.requests if request.key[0] == "revise"}
    again = {request.key: request.dialogue for request in editor.requests}
    assert between
    assert all(again[key] == dialogue for key, dialogue in between.items())


def test_the_chat_form_continues_the_conversation() -> None:
    _, _, critic, editor = chain(ASKING, 1)
    assert [turn.role for turn in critic.requests[0].dialogue] == ["user", "assistant", "user"]
    last = editor.requests[0].dialogue
    assert [turn.role for turn in last] == ["user", "assistant", "user", "assistant", "user"]
    assert last[2].text.startswith("Criticise under rule")
    assert last[3].text == "critique id0 1 0"
    assert last[4].text.replace("Revise", "Criticise") == last[2].text  # drawn in pairs


def test_the_single_turn_form_is_one_message_and_hides_the_critique_when_told() -> None:
    shown = Asking("single_turn", 0, "single_turn", 1, "pairs", critique=True, show_critique=True, seed=0)
    _, _, _, editor = chain(shown, 1)
    dialogue = editor.requests[0].dialogue
    assert [turn.role for turn in dialogue] == ["user", "assistant", "user"]  # one demonstration, then the message
    assert "Demo rewrite" in dialogue[0].text
    assert "critique id0 1 0" in dialogue[2].text
    hidden = Asking("single_turn", 0, "single_turn", 0, "pairs", critique=True, show_critique=False, seed=0)
    _, revisions, _, editor = chain(hidden, 1)
    assert len(editor.requests[0].dialogue) == 1
    assert "critique id0" not in editor.requests[0].dialogue[0].text
    assert revisions["critique"][0] == "critique id0 1 0"


@pytest.mark.parametrize(("critiques", "revisions"), [(2, 0), (0, 2)])
def test_more_demonstrations_than_the_constitution_has_are_refused(critiques: int, revisions: int) -> None:
    asking = Asking(
        "single_turn", critiques, "single_turn", revisions, "pairs", critique=True, show_critique=True, seed=0
    )
    section = "critique" if critiques else "revise"
    with pytest.raises(ArtifactError, match=rf"too few demonstrations.*got 1; expected 2 \({section}\.demonstrations"):
        chain(asking, 1)


def test_without_critique_the_revision_is_direct_and_the_critique_is_null_with_a_reason() -> None:
    direct = Asking("chat", 0, "chat", 0, "pairs", critique=False, show_critique=False, seed=0)
    critiques, revisions, critic, editor = chain(direct, 1)
    assert critic.requests == []
    assert set(critiques["error"]) == {"disabled"}
    assert critiques["critique"].null_count() == 3
    assert [turn.role for turn in editor.requests[0].dialogue] == ["user", "assistant", "user"]
    assert revisions["revision"].null_count() == 0


def test_independent_principles_differ_from_the_critiques_for_some_row() -> None:
    independent = Asking("chat", 0, "chat", 0, "independent", critique=True, show_critique=True, seed=0)
    critiques, revisions, _, _ = chain(independent, 4)
    joined = critiques.join(revisions, on=["prompt_id", "round"])
    assert (joined["principle_id"] != joined["principle_id_right"]).any()
    critiques, revisions, _, _ = chain(ASKING, 4)
    joined = critiques.join(revisions, on=["prompt_id", "round"])
    assert (joined["principle_id"] == joined["principle_id_right"]).all()


def drawn(phase: str = "preference", **limits: int | None) -> pl.DataFrame:
    own = asked(prompts(), phase, {"train": None, "test": None} | limits)
    return sample(own, ScriptedModel(told), SAMPLING)


def test_the_preference_phase_may_ask_the_supervised_prompts_again() -> None:
    """The paper's one pool: the gate takes either phase's prompts, and never a mixture."""
    from cai.quality import samples as gate

    again = drawn("supervised", train=1)
    assert again["prompt_id"].unique(maintain_order=True).to_list() == ["id0", "id1"]
    for found, n_unknown in ((again, 0), (drawn(), 0), (pl.concat([again, drawn()]), 4)):
        assert gate.slim(found, {"prompts": gate_prompts()})["unknown"].sum() == n_unknown
    model = ScriptedModel(told, lambda dialogue, options, prefix: (0.2, 0.7))
    verdicts = judge(again, CONSTITUTION, model, SAMPLING, Manner(), orders=1)
    limits = {"labels": "hard", "tie_margin": 0.0, "max_similarity": 1.0, "max_length_ratio": 8.0}
    kept, _ = pair(verdicts, again, prompts(), **limits)  # type: ignore[arg-type]
    assert kept["split"].to_list() == ["train", "test"]


def gate_prompts() -> pl.DataFrame:
    from cai.quality.samples import PARENTS

    return prompts().select(PARENTS[0].columns)


def test_two_draws_have_their_own_keys() -> None:
    samples = drawn()
    assert SAMPLES.violations(samples) == []
    assert samples.select("prompt_id", "draw").rows() == [("id2", 0), ("id2", 1), ("id3", 0), ("id3", 1)]
    assert samples["response"].n_unique() == 4


def judged(weights: object, **more: object) -> pl.DataFrame:
    samples = drawn()
    model = ScriptedModel(told, weights)  # type: ignore[arg-type]
    return judge(samples, CONSTITUTION, model, SAMPLING, Manner(), **more)  # type: ignore[arg-type]


def test_a_judge_that_always_says_a_prefers_nobody() -> None:
    verdicts = judged(lambda dialogue, options, prefix: (0.9, 0.1))
    assert verdicts["p"].to_list() == pytest.approx([0.5, 0.5])
    assert verdicts["flip"].to_list() == [True, True]
    assert set(verdicts["status"]) == {"tie"}


def test_a_judge_that_knows_is_believed_in_both_orders() -> None:
    def prefers_draw_one(dialogue: object, options: object, prefix: object) -> tuple[float, float]:
        first = dialogue[0].text.split("(A)")[1].split("(B)")[0]  # type: ignore[index]
        return (0.8, 0.1) if " 1\n" in first else (0.1, 0.8)

    verdicts = judged(prefers_draw_one)
    assert set(verdicts["status"]) == {"ok"}
    assert verdicts["p"].to_list() == pytest.approx([1 / 9, 1 / 9])
    assert verdicts["label_mass_first"].to_list() == pytest.approx([0.9, 0.9])
    kept, left = pair(
        verdicts,
        drawn(),
        prompts(),
        labels="soft",
        tie_margin=0.0,
        max_similarity=1.0,
        max_length_ratio=8.0,
    )
    assert kept["chosen_draw"].to_list() == [1, 1]
    assert kept["chosen"].to_list() == ["sample id2 0 1", "sample id3 0 1"]
    assert kept["p_chosen"].to_list() == pytest.approx([8 / 9, 8 / 9])
    assert kept["split"].to_list() == ["train", "test"]
    assert left.height == 0
    assert [row["p_chosen"] for row in preference_rows(kept)] == pytest.approx([8 / 9, 8 / 9])


def test_unparsed_refused_and_failed_are_never_a_class() -> None:
    verdicts = judged(lambda dialogue, options, prefix: Choice(None, None, "server gave none"))
    assert set(verdicts["status"]) == {"error"}
    assert verdicts["p"].null_count() == 2
    replies = {"refused": "I cannot choose between them.", "unparsed": "Both are lovely."}
    for status, reply in replies.items():
        samples = drawn()
        verdicts = judge(
            samples, CONSTITUTION, ScriptedModel(lambda request, said=reply: said), SAMPLING, Manner("text")
        )
        assert set(verdicts["status"]) == {status}


def test_in_words_the_orders_have_to_agree() -> None:
    samples = drawn()
    always_a = ScriptedModel(lambda request: "The answer is: (A)")
    assert set(judge(samples, CONSTITUTION, always_a, SAMPLING, Manner("text"))["status"]) == {"tie"}
    once = judge(samples, CONSTITUTION, always_a, SAMPLING, Manner("text"), orders=1)
    assert once["p"].to_list() == [1.0, 1.0]
    assert once["flip"].null_count() == 2


def test_pairs_left_out_have_their_reason() -> None:
    own = asked(prompts(), "preference", {"train": None, "test": None})
    samples = sample(own, ScriptedModel(lambda request: "the same words"), SAMPLING)
    model = ScriptedModel(told, lambda dialogue, options, prefix: (0.6, 0.3))
    verdicts = judge(samples, CONSTITUTION, model, SAMPLING, Manner(), orders=1)
    limits = {"labels": "hard", "tie_margin": 0.0, "max_similarity": 0.9, "max_length_ratio": 8.0}
    kept, left = pair(verdicts, samples, prompts(), **limits)  # type: ignore[arg-type]
    assert kept.height == 0
    assert left["reason"].to_list() == ["nearly identical"] * 2
    kept, left = pair(verdicts, samples, prompts(), **(limits | {"tie_margin": 0.4}))  # type: ignore[arg-type]
    assert left["reason"].to_list() == ["tie"] * 2


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("one two three four five six seven eight nine ten", "one two three four five six seven eight nine", "nearly identical"),
        ("one two three four five six seven eight nine ten", "one two three four five six seven eight", None),
        ("short", " ".join(f"w{i}" for i in range(9)), "extreme length"),
        ("short", " ".join(f"w{i}" for i in range(8)), None),
        (" ".join(f"w{i}" for i in range(9)), "short", "extreme length"),
    ],
)  # fmt: skip
def test_pairs_that_teach_nothing_or_length_are_left_out(first: str, second: str, reason: str | None) -> None:
    """At most 0.9 alike (18 of 19 words said by both are more, 16 of 18 are not), at most 8 times as long."""
    own = asked(prompts(), "preference", {"train": 1, "test": 0})
    samples = sample(own, ScriptedModel(lambda request: second if request.key[-1] == "1" else first), SAMPLING)
    model = ScriptedModel(told, lambda dialogue, options, prefix: (0.6, 0.3))
    verdicts = judge(samples, CONSTITUTION, model, SAMPLING, Manner(), orders=1)
    kept, left = pair(
        verdicts, samples, prompts(), labels="soft", tie_margin=0.0, max_similarity=0.9, max_length_ratio=8.0
    )
    assert left["reason"].to_list() == ([] if reason is None else [reason])
    assert kept.height + left.height == 1


def test_a_second_turn_builds_on_the_models_own_first_answer() -> None:
    evaluation = pl.DataFrame(
        {
            "prompt_id": ["e1"],
            "set": ["mtbench"],
            "item_id": ["81"],
            "category": ["writing"],
            "temperature": [0.1],
            "turns_text": [["first?", "second?"]],
            "reference": [None],
        },
        schema_overrides={"reference": pl.List(pl.String)},
    )
    model = ScriptedModel(lambda request: f"to {request.dialogue[-1].text}")
    asked = questions(evaluation, prompts(), heldout_limit=32)
    answers = answer(asked, model, SAMPLING).sort("prompt_id", "turn")
    assert answers.select("prompt_id", "turn", "set").rows() == [
        ("e1", 1, "mtbench"),
        ("e1", 2, "mtbench"),
        ("id4", 1, "heldout"),
    ]
    second = next(request for request in model.requests if request.key[2] == "2")
    assert [turn.text for turn in second.dialogue] == ["first?", "to first?", "second?"]
    assert second.sampling.temperature == 0.1
    assert math.isclose(next(r for r in model.requests if r.key[1] == "id4").sampling.temperature, 0.7)


def test_a_failed_first_turn_fails_the_second_with_a_reason() -> None:
    evaluation = pl.DataFrame(
        {
            "prompt_id": ["e1"],
            "set": ["mtbench"],
            "item_id": ["81"],
            "category": ["writing"],
            "temperature": [None],
            "turns_text": [["first?", "second?"]],
            "reference": [None],
        },
        schema_overrides={"reference": pl.List(pl.String), "temperature": pl.Float64},
    )
    model = ScriptedModel(lambda request: Completion.failed("server gone"))
    answers = answer(questions(evaluation, prompts(1), None), model, SAMPLING).sort("turn")
    assert answers["error"].to_list() == ["server gone", "first turn failed"]


def test_helpful_rows_make_up_the_wanted_share() -> None:
    cleaned = REVISIONS.frame([]).with_columns(cut=pl.lit(False))
    assert revision_rows(cleaned, "all") == []
    instructions = pl.DataFrame({"instruction_id": list("abcd"), "turns": [[]] * 4, "response": list("wxyz")})
    rows = mixed([{"id": f"r{i}"} for i in range(6)], instructions, 0.25)
    assert [row["id"] for row in rows] == ["r0", "r1", "r2", "r3", "r4", "r5", "a", "b"]
    with pytest.raises(ParamsError, match=r"4 are there.*at most 0\.4"):
        mixed([{"id": f"r{i}"} for i in range(6)], instructions, 0.5)

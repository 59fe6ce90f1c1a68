"""What every backend promises, asked of each that can run here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from cai.dialogue import Turn
from cai.errors import ModelError
from cai.llm import hf, openai
from cai.llm.model import Choice, Model, Request, Sampling
from cai.llm.scripted import ScriptedModel
from tests.llm.conftest import Server, likelihoods, reply, silent

Open = Callable[[], Model]
GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, max_new_tokens=6, seed=1)
WARM = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=6, seed=1)


def _request(text: str, draw: int = 0, sampling: Sampling = GREEDY, prefix: str = "") -> Request:
    return Request((Turn("user", text),), sampling, ("respond", text[:8], "0", str(draw)), prefix)


def _answer(body: dict[str, object], n: int) -> dict[str, object]:
    if body.get("logprobs"):
        return likelihoods({"A": -0.5, "B": -1.5, " A": -4.0})
    messages = body["messages"]
    assert isinstance(messages, list)
    if len(messages[-1]["content"]) > 50_000:
        return {"status": 400}
    return reply(f"echo {body['seed']}: {messages[-1]['content'][:20]}")


@pytest.fixture(params=["scripted", "hf", "openai", pytest.param("served", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "scripted":

        def script(asked: Request) -> str:
            return f"{asked.key[-1]} {asked.dialogue[-1].text[:20]}" if len(asked.dialogue[-1].text) < 50_000 else ""

        return lambda: ScriptedModel(script, lambda dialogue, options, prefix: [0.6, 0.2], show=silent)
    if request.param == "hf":
        root = request.getfixturevalue("root")
        return lambda: hf.open_model("base", root=root, work=tmp_path, batch_size=4, precision="fp32", show=silent)
    if request.param == "served":
        url, name = request.getfixturevalue("served")
        if "choices" in request.node.name or "choice_a" in request.node.name:
            pytest.skip("transformers serve gives no log-probabilities (test_openai probes it)")
        if "window" in request.node.name or "missing" in request.node.name:
            pytest.skip("transformers serve takes a prompt of any length and computes it, for minutes")
        return lambda: openai.open_model(
            name, root=tmp_path, work=tmp_path, base_url=url, show=silent, concurrency=2, max_retries=1
        )
    server: Server = request.getfixturevalue("server")
    server.answer = _answer
    return lambda: openai.open_model(
        "tiny", root=tmp_path, work=tmp_path, base_url=server.url, show=silent, backoff_seconds=0.01, max_retries=1
    )


def test_completions_come_back_in_the_order_and_number_of_the_requests(opened: Open) -> None:
    requests = [_request(text) for text in ("one", "a much longer question than that", "two", "one")]
    together = opened().generate(requests)
    assert len(together) == 4
    assert all(item.text for item in together)
    assert [item.text for item in together] == [opened().generate([request])[0].text for request in requests]
    assert together[0] == together[3]


def test_no_request_gives_no_completion(opened: Open) -> None:
    assert opened().generate([]) == []


def test_the_same_request_gives_the_same_text_twice(opened: Open) -> None:
    request = _request("Tell me a story.", sampling=WARM)
    first, second = (opened().generate([request]) for _ in range(2))
    assert first[0].text
    assert first == second


def test_two_draws_of_one_prompt_are_two_samples(opened: Open) -> None:
    first, second = opened().generate([_request("Tell me a story.", draw, WARM) for draw in (0, 1)])
    assert first.text != second.text


def test_text_is_missing_exactly_when_the_row_failed_and_then_there_is_a_reason(opened: Open) -> None:
    for item in opened().generate([_request("hello"), _request("long " * 20_000)]):
        assert (item.text is None) == (item.finish_reason == "error") == (item.error is not None)
        assert item.text is None or item.text.strip()


def test_a_prompt_beyond_every_window_is_an_error_row_among_good_ones(opened: Open) -> None:
    good, bad, other = opened().generate([_request("hello"), _request("long " * 20_000), _request("bye")])
    assert bad.finish_reason == "error"
    assert good.text
    assert other.text


def test_unicode_survives(opened: Open) -> None:
    (item,) = opened().generate([_request("Grüße 你好 שלום \U0001f469\U0001f3fd‍\U0001f680")])
    assert item.text is not None


def test_a_name_is_the_same_in_every_session(opened: Open) -> None:
    assert opened().name == opened().name != ""


def test_choices_are_log_probabilities_that_are_not_normalised_over_the_options(opened: Open) -> None:
    (choice,) = opened().choose([(Turn("user", "Answer A or B."),)], ["A", "B"])
    assert isinstance(choice, Choice)
    assert choice.logprobs is not None
    assert choice.label_mass is not None
    assert all(value <= 0 for value in choice.logprobs)
    assert choice.label_mass <= 1 + 1e-9
    assert choice.label_mass == pytest.approx(math.fsum(map(math.exp, choice.logprobs)), abs=1e-6)
    assert choice.label_mass < 0.999


def test_one_choice_a_dialogue(opened: Open) -> None:
    assert len(opened().choose([(Turn("user", text),) for text in "xyz"], ["A", "B"])) == 3


def test_options_that_cannot_be_told_apart_are_refused(opened: Open) -> None:
    with pytest.raises(ModelError, match="options"):
        opened().choose([(Turn("user", "x"),)], ["A", "A"])


def test_completions_can_be_written_as_json(opened: Open) -> None:
    (item,) = opened().generate([_request("hello")])
    assert item.text
    json.dumps([item.text, item.finish_reason, item.prompt_tokens, item.completion_tokens, item.token_ids])

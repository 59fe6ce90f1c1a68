"""What every backend promises, asked of each that can run here."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cai.dialogue import Dialogue, Turn
from cai.errors import ModelError
from cai.llm import hf, openai, vllm
from cai.llm.model import Choice, Model, Request, Sampling
from cai.llm.scripted import ScriptedModel
from tests.llm.conftest import Server, likelihoods, reply, silent

pytestmark = pytest.mark.usefixtures("loaded_once")

Open = Callable[[], Model]
GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, max_new_tokens=6, seed=1)
WARM = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=6, seed=1)


def _request(text: str, draw: int = 0, sampling: Sampling = GREEDY, prefix: str = "") -> Request:
    return Request((Turn("user", text),), sampling, ("respond", text[:8], "0", str(draw)), prefix)


def _answer(body: dict[str, object], n: int) -> dict[str, object]:
    messages = body["messages"]
    assert isinstance(messages, list)
    if max(len(one["content"]) for one in messages) > 50_000:
        return {"status": 400}
    if body.get("logprobs"):
        return likelihoods({"A": -0.5, "B": -1.5, " A": -4.0})
    said = messages[-1]["content"][:20]
    return reply(f"echo {body['seed']}: {said}", *(("length", 6) if body["max_tokens"] == 6 else ("stop", 2)))


class StandIn(types.ModuleType):
    """What our adapter uses of the library vllm, which needs a GPU: it answers from the prompt's ids and the seed."""

    SamplingParams = types.SimpleNamespace

    class LLM:
        def __init__(self, model: str, dtype: str) -> None:
            self._tokenizer = hf.tokenizer(Path(model))

        def generate(self, prompts: list[dict[str, list[int]]], params: Any) -> list[Any]:
            each = params if isinstance(params, list) else [params] * len(prompts)
            return [self._one(prompt["prompt_token_ids"], one) for prompt, one in zip(prompts, each, strict=True)]

        def _one(self, ids: list[int], params: Any) -> Any:
            assert len(ids) + params.max_tokens <= 8192, "vllm ends the whole call over one such prompt"
            if getattr(params, "logprobs", None):
                a, b = (self._tokenizer(letter)["input_ids"][0] for letter in "AB")
                top = {a: -0.5, b: -1.5, 0: -4.0}
                return _output([a], "length", [{one: types.SimpleNamespace(logprob=p) for one, p in top.items()}])
            words = f"{params.seed} {self._tokenizer.decode(ids[-12:])}"
            said = [*self._tokenizer(words)["input_ids"], params.stop_token_ids[0]]
            cut = said[: params.max_tokens]
            return _output(cut, "stop" if len(cut) == len(said) else "length", None)


def _output(token_ids: list[int], finish: str, logprobs: object) -> Any:
    reply = types.SimpleNamespace(token_ids=token_ids, finish_reason=finish, logprobs=logprobs)
    return types.SimpleNamespace(outputs=[reply])


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("whole", "served")]


@pytest.fixture(params=["scripted", "hf", "vllm", "openai", *SLOW])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    if request.param == "scripted":

        def script(asked: Request) -> str:
            noise = f"{asked.key[-1]} {asked.sampling.seed}"
            return f"{noise} {asked.dialogue[-1].text[:20]}" if len(asked.dialogue[-1].text) < 50_000 else ""

        def weigh(dialogue: Dialogue, options: Sequence[str], prefix: str) -> Any:
            return [0.6, 0.2] if len(dialogue[-1].text) < 50_000 else Choice(None, None, "too long")

        return lambda: ScriptedModel(script, weigh, show=silent)
    if request.param in ("hf", "whole"):
        # The contract is the same of five layers as of all thirty, which alone know when to stop.
        whole = request.param == "whole" or "budget" in request.node.name
        root = request.getfixturevalue("root" if whole else "shallow_root")
        return lambda: hf.open_model("base", root=root, work=tmp_path, batch_size=4, precision="fp32", show=silent)
    if request.param == "vllm":
        root = request.getfixturevalue("shallow_root")
        monkeypatch.setitem(sys.modules, "vllm", StandIn("vllm"))
        return lambda: vllm.open_model("base", root=root, work=tmp_path, batch_size=4, precision="fp32", show=silent)
    if request.param == "served":
        url, name = request.getfixturevalue("served")
        if "choice" in request.node.name:
            pytest.skip("transformers serve gives no log-probabilities (test_openai probes it)")
        if "window" in request.node.name or "missing" in request.node.name:
            pytest.skip("transformers serve takes a prompt of any length and computes it, for minutes")
        return lambda: openai.open_model(
            name,
            root=tmp_path,
            work=tmp_path,
            base_url=url,
            show=silent,
            concurrency=2,
            max_retries=1,
            timeout_seconds=600.0,
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


def test_another_seed_is_another_sample(opened: Open) -> None:
    first, second = opened().generate(
        [_request("Tell me a story.", sampling=replace(WARM, seed=seed)) for seed in (1, 2)]
    )
    assert first.text and second.text
    assert first.text != second.text


def test_a_text_keeps_to_its_budget_and_says_whether_that_cut_it(opened: Open) -> None:
    """SmolLM2 names a capital in one sentence and stops, and does not end a story within six tokens."""
    cut, whole = opened().generate(
        [
            _request("Tell me a long story."),
            _request("What is the capital of France?", sampling=replace(GREEDY, max_new_tokens=32)),
        ]
    )
    assert (cut.finish_reason, whole.finish_reason) == ("length", "stop")
    for item, budget in ((cut, 6), (whole, 32)):
        assert item.completion_tokens is None or 0 < item.completion_tokens <= budget


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


def test_a_choice_about_a_prompt_beyond_every_window_is_missing_among_good_ones(opened: Open) -> None:
    good, bad, other = opened().choose([(Turn("user", text),) for text in ("x", "long " * 20_000, "y")], ["A", "B"])
    assert bad.logprobs is None and bad.error
    assert good.logprobs and other.logprobs


def test_options_that_cannot_be_told_apart_are_refused(opened: Open) -> None:
    with pytest.raises(ModelError, match="options"):
        opened().choose([(Turn("user", "x"),)], ["A", "A"])


def test_completions_can_be_written_as_json(opened: Open) -> None:
    (item,) = opened().generate([_request("hello")])
    assert item.text
    json.dumps([item.text, item.finish_reason, item.prompt_tokens, item.completion_tokens, item.token_ids])

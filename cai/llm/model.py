"""What every backend promises: a request in, a completion out, in the same order and number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from cai.dialogue import Dialogue

FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Sampling:
    """How to draw a text. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 switch those off."""

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    seed: int

    def digest(self) -> str:
        """16 hex digits of the parameters; stored with every generated row."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Request:
    """One text to be drawn.

    ``key`` = (stage, prompt_id, round, draw), as text. The noise of a row depends on (seed, key) and on nothing
    else: not on its neighbours, its place or the batch. The draw is part of it, so that two samples of one prompt
    never share a stored completion.
    ``prefix`` is put into the assistant's mouth and is not part of the returned text.
    """

    dialogue: Dialogue
    sampling: Sampling
    key: tuple[str, ...]
    prefix: str = ""


@dataclass(frozen=True)
class Completion:
    """What came back. ``text`` is None exactly when ``finish_reason`` is "error"; ``error`` then says why."""

    text: str | None
    finish_reason: FinishReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    token_ids: tuple[int, ...] | None = None
    error: str | None = None

    @classmethod
    def failed(cls, reason: str) -> Completion:
        """A row that could not be generated: data with a reason, not an exception."""
        return cls(None, "error", error=reason)


@dataclass(frozen=True)
class Choice:
    """Next-token log-probabilities of the options offered, not normalised over them.

    ``label_mass`` is the sum of their probabilities: how far the model meant to answer with one of them at all.
    """

    logprobs: tuple[float, ...] | None
    label_mass: float | None
    error: str | None = None


class Progress(Protocol):
    """Called with (rows done, rows in all) whenever a batch is finished."""

    def __call__(self, done: int, total: int) -> None: ...


class Model(Protocol):
    """A model that can be asked. ``name`` is an immutable reference and goes into every artifact."""

    name: str

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in the order of the requests."""
        ...

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        """One choice a dialogue: log-probabilities of each option right after the generation prompt and prefix."""
        ...

"""A judge made of two functions, which counts what it is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from cai.dialogue import Dialogue
from cai.llm.model import Choice, Completion, Request


class FakeJudge:
    """Replies with ``say(text of the whole dialogue)``; None is an error row. ``weigh`` gives a probability an option."""

    name = "fake@1"

    def __init__(
        self,
        say: Callable[[str], str | None] = lambda text: None,
        weigh: Callable[[str, str], float] | None = None,
    ) -> None:
        self.say, self.weigh = say, weigh
        self.requests: list[Request] = []
        self.n_chosen = 0

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.requests += requests
        replies = [self.say("\n".join(turn.text for turn in request.dialogue)) for request in requests]
        return [Completion.failed("fault") if reply is None else Completion(reply, "stop") for reply in replies]

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        self.n_chosen += len(dialogues)
        if self.weigh is None:
            return [Choice(None, None, "no log-probabilities")] * len(dialogues)
        result = []
        for dialogue in dialogues:
            weights = [self.weigh(dialogue[-1].text + prefix, option) for option in options]
            result.append(Choice(tuple(math.log(max(w, 1e-12)) for w in weights), min(1.0, sum(weights))))
        return result

"""Several checkpoints side by side: all hear the same words, each keeps its own conversation."""

from __future__ import annotations

from collections.abc import Mapping

from cai.dialogue import Dialogue, Turn, prompt_id
from cai.llm.model import Completion, Model, Request, Sampling
from cai.run import Progress, Run


class Chat:
    """A conversation with each of some models.

    >>> from cai.llm.scripted import ScriptedModel
    >>> chat = Chat({"sft": ScriptedModel({"hi": "hello"})}, Sampling(0, 1, 0, 8, 0))
    >>> chat.hear("hi")["sft"].text
    'hello'
    """

    def __init__(self, models: Mapping[str, Model], sampling: Sampling) -> None:
        self.models, self.sampling = models, sampling
        self.said: dict[str, Dialogue] = dict.fromkeys(models, ())

    def hear(self, text: str) -> dict[str, Completion]:
        """Each model's reply. A question that failed is forgotten, so that what follows does not rest on it."""
        replies = {}
        for name, model in self.models.items():
            asked = (*self.said[name], Turn("user", text))
            (reply,) = model.generate([Request(asked, self.sampling, ("chat", prompt_id(asked), "0", "0"))])
            if reply.text is not None:
                self.said[name] = (*asked, Turn("assistant", reply.text))
            replies[name] = reply
        return replies

    def start_again(self) -> None:
        """Forget what was said."""
        self.said = dict.fromkeys(self.models, ())


class _Silent(Progress):
    def __call__(self, done: int, total: int) -> None:
        pass


class Talking(Run):
    """A run whose models show no progress: replies stand where a bar would."""

    def progress(self, what: str = "rows") -> Progress:
        return _Silent(self.stage, what)

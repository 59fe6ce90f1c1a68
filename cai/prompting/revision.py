"""How we ask a model to rewrite its answer. The two forms are those of `cai.prompting.critique`."""

from collections.abc import Sequence

from cai.constitution import Demonstration
from cai.dialogue import Dialogue, Turn
from cai.prompting.conversation import quoted
from cai.prompting.critique import demonstrated, question


def chat(
    context: Dialogue,
    response: str,
    critique_request: str,
    critique: str | None,
    revision_request: str,
    shown: Sequence[Demonstration],
) -> Dialogue:
    """The conversation goes on; without a critique the revision is asked for at once."""
    asked = () if critique is None else (Turn("user", critique_request), Turn("assistant", critique))
    return (
        *demonstrated(shown, critique_request, revision_request),
        *context,
        Turn("assistant", response),
        *asked,
        Turn("user", revision_request),
    )


def single_turn(
    context: Dialogue,
    response: str,
    critique: str | None,
    revision_request: str,
    shown: Sequence[Demonstration],
) -> Dialogue:
    """One message with question, draft and, if wanted, critique, that asks for the new answer and nothing else."""
    turns: list[Turn] = []
    for one in shown:
        fault = None if critique is None else one.critique
        message = _message(question(one), one.response, fault, one.revision_request or revision_request)
        turns += [Turn("user", message), Turn("assistant", one.revision)]
    return (*turns, Turn("user", _message(quoted(context), response, critique, revision_request)))


def _message(question: str, draft: str, critique: str | None, revision_request: str) -> str:
    fault = "" if critique is None else f"What is wrong with it:\n{critique}\n\n"
    return (
        f"Question:\n{question}\n\nDraft answer:\n{draft}\n\n{fault}"
        f"Task: {revision_request}\nWrite only the new answer to the question, nothing about the draft."
    )

"""How we ask a model to criticise its own answer.

Two forms (DESIGN section 3 has the measurements): ``chat`` continues the conversation, as Bai et al. (2022) and
Zhang (2025) do; ``single_turn`` puts question and draft into one message, which small models follow better.
"""

from collections.abc import Sequence

from cai.constitution import Demonstration
from cai.dialogue import Dialogue, Role, Turn
from cai.prompting.conversation import quoted


def chat(
    context: Dialogue, response: str, critique_request: str, revision_request: str, shown: Sequence[Demonstration]
) -> Dialogue:
    """The conversation goes on: the user asks for the critique of the answer just given."""
    return (
        *demonstrated(shown, critique_request, revision_request),
        *context,
        Turn("assistant", response),
        Turn("user", critique_request),
    )


def demonstrated(shown: Sequence[Demonstration], critique_request: str, revision_request: str) -> Dialogue:
    """Whole worked chains in front of the real one, so that the roles stay clear.

    A demonstration keeps its own requests where it has them: the beginning is then the same for every row, and a
    backend reads it once a batch.
    """
    turns: list[Turn] = []
    for one in shown:
        turns += [Turn(speaker(role), text) for role, text in one.earlier]
        turns += [Turn("user", one.prompt), Turn("assistant", one.response)]
        turns += [Turn("user", one.critique_request or critique_request), Turn("assistant", one.critique)]
        turns += [Turn("user", one.revision_request or revision_request), Turn("assistant", one.revision)]
    return tuple(turns)


def single_turn(context: Dialogue, response: str, critique_request: str, shown: Sequence[Demonstration]) -> Dialogue:
    """One message with question and draft; demonstrations are earlier messages of the same shape."""
    turns: list[Turn] = []
    for one in shown:
        message = _message(question(one), one.response, one.critique_request or critique_request)
        turns += [Turn("user", message), Turn("assistant", one.critique)]
    return (*turns, Turn("user", _message(quoted(context), response, critique_request)))


def question(one: Demonstration) -> str:
    """What a demonstration answers, earlier turns included."""
    return quoted((*(Turn(speaker(role), text) for role, text in one.earlier), Turn("user", one.prompt)))


def speaker(role: str) -> Role:
    """The role a source's own word for it means."""
    return "assistant" if role == "assistant" else "user"


def _message(question: str, draft: str, critique_request: str) -> str:
    return f"Question:\n{question}\n\nDraft answer:\n{draft}\n\nTask: {critique_request}\nReply in two sentences."

"""A conversation as plain text, for requests that quote one instead of continuing it."""

from collections.abc import Sequence

from cai.dialogue import Turn

SPEAKER = {"user": "Human", "assistant": "Assistant", "system": "System"}


def quoted(dialogue: Sequence[Turn]) -> str:
    """The context as text; a single user turn stands alone, without a speaker's name.

    >>> quoted((Turn("user", "Hello?"),))
    'Hello?'
    """
    if len(dialogue) == 1:
        return dialogue[0].text
    return "\n".join(f"{SPEAKER[turn.role]}: {turn.text}" for turn in dialogue)

"""The one shape of a conversation in this project."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

Role = Literal["system", "user", "assistant"]


class Turn(NamedTuple):
    """One message: who speaks, and what."""

    role: Role
    text: str


Dialogue = tuple[Turn, ...]


def messages(dialogue: Sequence[Turn]) -> list[dict[str, str]]:
    """The dialogue in the form that chat templates and chat servers take."""
    return [{"role": turn.role, "content": turn.text} for turn in dialogue]


def structs(dialogue: Sequence[Turn]) -> list[dict[str, str]]:
    """The dialogue as the ``turns`` column of an artifact stores it."""
    return [{"role": turn.role, "text": turn.text} for turn in dialogue]


def from_structs(turns: Iterable[Mapping[str, Any]]) -> Dialogue:
    """The dialogue that a ``turns`` cell holds."""
    return tuple(Turn(cast(Role, turn["role"]), str(turn["text"])) for turn in turns)


def prompt_id(dialogue: Sequence[Turn]) -> str:
    """16 hex digits that depend on the roles and texts of the context, and on nothing else.

    >>> prompt_id((Turn("user", "hi"),)) == prompt_id((Turn("user", "hi"),))
    True
    """
    digest = hashlib.sha256()
    for turn in dialogue:
        for part in (turn.role, turn.text):
            encoded = part.encode("utf-8", "surrogatepass")
            # The length goes in front, so that no two dialogues can be read out of one byte string.
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:16]

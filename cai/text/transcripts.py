"""HH-RLHF transcripts: ``"\\n\\nHuman: ...\\n\\nAssistant: ..."`` as turns, with every flaw under a name.

A turn starts at ``\\n\\nHuman:`` or ``\\n\\nAssistant:`` (the start of the text will do for the first one); its body
is stripped. Measured on harmless-base/test (2,312 rows): consecutive Assistant turns in 9 rows, a role tag inside an
Assistant body in 40 chosen texts, 4 empty final answers, 5 rows whose text before the last ``Assistant:`` differs
between chosen and rejected. A context is what a model will be shown, so only flaws up to its last human turn spoil
it; what comes after (an empty final answer, two answers in a row at the end) is counted, but loses no prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import regex

Role = Literal["user", "assistant"]
Pairs = tuple[tuple[Role, str], ...]
Which = Literal["last", "every", "first"]

REASONS: Final[Mapping[str, str]] = {
    "empty_transcript": "the transcript holds nothing but white space",
    "text_before_first_tag": "words stand before the first Human: or Assistant:",
    "no_human_turn": "nobody asks anything",
    "starts_with_assistant": "the first turn is the assistant's",
    "empty_human_turn": "a human turn without words",
    "empty_assistant_turn": "an assistant turn without words, before the last human turn",
    "empty_final_answer": "the last assistant turn is without words",
    "no_final_answer": "the transcript ends with a human turn",
    "consecutive_human_turns": "two human turns in a row",
    "consecutive_assistant_turns": "two assistant turns in a row",
    "role_tag_in_body": "Human: or Assistant: inside a turn",
    "contexts_diverge": "chosen and rejected do not continue the same context",
}
"""Every reason this module gives, and what it means."""

_TAG = regex.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_TAG_IN_BODY = regex.compile(r"\b(?:Human|Assistant):")
_SEEN = regex.compile(r"[\p{L}\p{N}\p{P}\p{S}]")  # a body of zero-width characters and controls is not a question
_ROLES: Final[Mapping[str, Role]] = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True)
class Transcript:
    """Turns as (role, text), and flaws as (index of the turn that shows it, reason), in the order of the text."""

    turns: Pairs
    flaws: tuple[tuple[int, str], ...]

    @property
    def reason(self) -> str | None:
        """Why the whole transcript cannot be taken as it stands; None when it can."""
        return self.flaws[0][1] if self.flaws else None

    @property
    def last_human(self) -> int | None:
        """Index of the last human turn; None without one."""
        return max((i for i, (role, _) in enumerate(self.turns) if role == "user"), default=None)


def parse(transcript: str) -> Transcript:
    """The turns of an HH transcript and everything that is wrong with them.

    >>> parse("\\n\\nHuman: hi\\n\\nAssistant: hello").turns
    (('user', 'hi'), ('assistant', 'hello'))
    >>> parse("\\n\\nHuman: hi\\n\\nAssistant: Human: hello").reason
    'role_tag_in_body'
    """
    text = transcript.replace("\r\n", "\n")
    if not text.strip():
        return Transcript((), ((0, "empty_transcript"),))
    tags = list(_TAG.finditer(text))
    if not tags:
        return Transcript((), ((0, "no_human_turn"),))
    turns: list[tuple[Role, str]] = []
    flaws: list[tuple[int, str]] = []
    if text[: tags[0].start()].strip():
        flaws.append((0, "text_before_first_tag"))
    for index, tag in enumerate(tags):
        end = tags[index + 1].start() if index + 1 < len(tags) else len(text)
        role, body = _ROLES[tag[1]], text[tag.end() : end].strip()
        is_last = index + 1 == len(tags)
        if index and turns[-1][0] == role:
            flaws.append((index, "consecutive_human_turns" if role == "user" else "consecutive_assistant_turns"))
        if _TAG_IN_BODY.search(body):
            flaws.append((index, "role_tag_in_body"))
        if not _SEEN.search(body):
            if role == "user":
                flaws.append((index, "empty_human_turn"))
            else:
                flaws.append((index, "empty_final_answer" if is_last else "empty_assistant_turn"))
        turns.append((role, body))
    if all(role != "user" for role, _ in turns):
        flaws.insert(0, (0, "no_human_turn"))
    elif turns[0][0] == "assistant":
        flaws.insert(0, (0, "starts_with_assistant"))
    if turns[-1][0] == "user":
        flaws.append((len(turns), "no_final_answer"))
    return Transcript(tuple(turns), tuple(flaws))


def context(transcript: Transcript) -> tuple[Pairs | None, str | None]:
    """The turns up to and with the last human turn and None, or None and the reason why there are none.

    >>> context(parse("\\n\\nHuman: a\\n\\nAssistant: b\\n\\nHuman: c\\n\\nAssistant: "))[0]
    (('user', 'a'), ('assistant', 'b'), ('user', 'c'))
    """
    return contexts(transcript, "last")[0]


def contexts(transcript: Transcript, which: Which) -> list[tuple[Pairs | None, str | None]]:
    """One (context, None) or (None, reason) for each human turn that ``which`` names; at least one in all.

    ``last`` keeps the whole conversation, ``first`` the first human turn alone (the paper), ``every``
    Anthropic's (one prompt a human turn).

    >>> [c and c[-1][1] for c, _ in contexts(parse("\\n\\nHuman: a\\n\\nAssistant: b\\n\\nHuman: c"), "every")]
    ['a', 'c']
    """
    ends = [i for i, (role, _) in enumerate(transcript.turns) if role == "user"]
    if not ends:
        return [(None, transcript.reason)]
    chosen = {"last": ends[-1:], "first": ends[:1], "every": ends}[which]
    found: list[tuple[Pairs | None, str | None]] = []
    for end in chosen:
        reason = next((why for at, why in transcript.flaws if at <= end), None)
        found.append((None, reason) if reason else (transcript.turns[: end + 1], None))
    return found


def later_flaws(transcript: Transcript) -> tuple[str, ...]:
    """The flaws after the last human turn: they spoil the recorded answer, not the context."""
    last = transcript.last_human
    return () if last is None else tuple(why for at, why in transcript.flaws if at > last)


def row_contexts(
    chosen: str | None, rejected: str | None, transcript: str | None, which: Which
) -> tuple[list[tuple[Pairs | None, str | None]], tuple[str, ...]]:
    """What ``contexts`` gives for a raw row, and the flaws after its last human turn.

    A comparison row speaks with its chosen side; when the rejected side has another context up to its last human
    turn, the row is one (None, "contexts_diverge"): which of the two was answered cannot be known. A
    ``red-team-attempts`` row speaks with ``transcript``.
    """
    if chosen is None:
        parsed = parse(transcript or "")
        return contexts(parsed, which), later_flaws(parsed)
    parsed = parse(chosen)
    if rejected is not None:
        other = parse(rejected)
        if parsed.last_human is not None and _until_last_human(parsed) != _until_last_human(other):
            return [(None, "contexts_diverge")], ()
        later = dict.fromkeys(later_flaws(parsed) + later_flaws(other))
        return contexts(parsed, which), tuple(later)
    return contexts(parsed, which), later_flaws(parsed)


def _until_last_human(transcript: Transcript) -> Pairs:
    last = transcript.last_human
    return () if last is None else transcript.turns[: last + 1]

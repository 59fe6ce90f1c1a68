"""One comparison as a judge is asked for it, and what it said: shared by AI feedback and by the judge's card.

Read from the log-probabilities of the two labels where a server gives them: p(first option) = softmax over the two.
Text replies are parsed anchored and last-match; a reply that names no option is unparsed, never a class. With
``reasoning_tokens`` the judge thinks aloud first and is then asked for its verdict; p is clamped, because what a judge
has argued for it believes too firmly (Bai et al. 2022, section 4.1: 40 to 60 % did best).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cai.constitution import ComparisonDemonstration, Constitution
from cai.dialogue import Dialogue
from cai.errors import ArtifactError
from cai.llm.model import Choice, Completion, Model, Request, Sampling
from cai.params import Judges
from cai.prompting.judgement import LABELS, PREFIX, demonstrated, question, verdict_after
from cai.text.choice import choice

Replies = Literal["logprobs", "text"]


@dataclass(frozen=True)
class Manner:
    """How a judge is asked and read. ``reasoning_tokens`` 0: at once; ``clamp`` bounds p after reasoning."""

    replies: Replies = "logprobs"
    reasoning_tokens: int = 0
    clamp: tuple[float, float] = (0.4, 0.6)
    demonstrations: tuple[ComparisonDemonstration, ...] = ()

    @property
    def aloud(self) -> bool:
        """Whether the judge thinks before it answers."""
        return self.reasoning_tokens > 0


PLAIN = Manner()
"""Log-probabilities of the labels, at once, nothing shown."""


@dataclass(frozen=True)
class Asked:
    """One order of one pair: the question, what is put into the judge's mouth, and (prompt_id, round, draw)."""

    dialogue: Dialogue
    key: tuple[str, str, str]
    prefix: str = PREFIX


@dataclass(frozen=True)
class View:
    """What one order gave: p that the *first shown* response is better, or why there is none."""

    p: float | None
    label_mass: float | None
    reason: str | None


def manner(section: Judges, constitution: Constitution) -> Manner:
    """A judge's section of params.yaml as the one description that asking takes, with its demonstrations.

    They are the constitution's first; those with reasoning where the judge thinks aloud.

    Raises:
        ArtifactError: the constitution has fewer.
    """
    n, aloud = section.demonstrations, section.reasoning_tokens > 0
    fit = [one for one in constitution.comparison_demonstrations if not aloud or one.reasoning is not None]
    if len(fit) < n:
        raise ArtifactError(
            "constitution",
            "has too few comparison demonstrations" + (" with reasoning" if aloud else ""),
            got=len(fit),
            expected=f"{n} (judge.demonstrations)",
            next_step=f"set judge.demonstrations to at most {len(fit)}, or add some at constitution.path",
        )
    low, high = section.clamp
    return Manner(section.replies, section.reasoning_tokens, (low, high), tuple(fit[:n]))


def compared(
    how: Manner, context: Dialogue, principle: str, first: str, second: str, *, key: tuple[str, str], order: int
) -> Asked:
    """The question for one order (0 or 1) of a pair; ``key`` = (prompt_id, round)."""
    own = question(context, principle, first, second, aloud=how.aloud)
    return Asked((*shown(how, principle, order), *own), (*key, str(order)))


def shown(how: Manner, principle: str, order: int) -> Dialogue:
    """The demonstrations' turns in one order."""
    turns: Dialogue = ()
    for one in how.demonstrations:
        turns += demonstrated(one, principle, swapped=order == 1, aloud=how.aloud)
    return turns


def views(model: Model, asked: Sequence[Asked], sampling: Sampling, how: Manner, *, stage: str) -> list[View]:
    """What the judge says to each question, in order.

    Args:
        model: the judge.
        asked: the questions.
        sampling: for what it writes; its ``max_new_tokens`` is that of the verdict, not of the reasoning.
        how: how it is asked and read.
        stage: first part of the requests' keys.
    """
    found: dict[int, View] = {}
    questions = dict(enumerate(asked))
    if how.aloud:
        thinking = replace(sampling, max_new_tokens=how.reasoning_tokens)
        requests = [Request(one.dialogue, thinking, (f"{stage}, reasoning", *one.key)) for one in asked]
        for place, thought in enumerate(model.generate(requests)):
            if thought.text is None:
                found[place] = View(None, None, thought.error or "error")
                del questions[place]
            else:
                own = questions[place]
                # The judge was asked anew, so its verdict begins with our words, not with an item's own.
                questions[place] = Asked(verdict_after(own.dialogue, thought.text), own.key)
    if how.replies == "logprobs":
        for prefix in sorted({one.prefix for one in questions.values()}):
            places = [place for place, one in questions.items() if one.prefix == prefix]
            choices = model.choose([questions[place].dialogue for place in places], LABELS, prefix=prefix)
            found |= {place: from_choice(one) for place, one in zip(places, choices, strict=True)}
    else:
        requests = [Request(one.dialogue, sampling, (stage, *one.key)) for one in questions.values()]
        replies = model.generate(requests)
        found |= {place: from_reply(one) for place, one in zip(questions, replies, strict=True)}
    low, high = how.clamp if how.aloud else (0.0, 1.0)
    return [
        view if view.p is None else replace(view, p=min(max(view.p, low), high))
        for view in (found[place] for place in range(len(asked)))
    ]


def from_choice(one: Choice) -> View:
    """p of the first option, normalised over the two labels."""
    if one.logprobs is None:
        return View(None, None, one.error or "no log-probabilities")
    first, second = one.logprobs
    return View(1.0 / (1.0 + math.exp(max(-700.0, min(700.0, second - first)))), one.label_mass, None)


def from_reply(completion: Completion) -> View:
    """1 or 0 from a reply in words, or the reason why it names nothing."""
    if completion.text is None:
        return View(None, None, completion.error or "error")
    label, reason = choice(completion.text)
    return View(None, None, reason) if label is None else View(1.0 if label == LABELS[0] else 0.0, None, None)

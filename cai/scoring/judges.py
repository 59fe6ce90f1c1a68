"""Asking a judge for ratings, and what became of each question. Nothing is dropped in silence.

A rating is read from the end of the reply and must lie on the scale: in public MT-Bench judgments the first match is
often a
quotation, and the one parse failure in 2,240 was an empty answer, whose loss raised the model's mean.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cai.dialogue import Dialogue, Turn
from cai.errors import ModelError
from cai.llm.model import Choice, Completion, Model, Request, Sampling
from cai.prompting.rating import again
from cai.scoring.degeneration import is_empty
from cai.scoring.items import fixed_order
from cai.scoring.statistics import Measure, mean

Status = Literal["ok", "empty", "parse_fail", "error", "missing", "not_asked"]
Replies = Literal["text", "logprobs", "both"]
MAX_RETRIES = 2


@dataclass(frozen=True)
class Standing:
    """Whether a judge may be believed in one role, and if not, why. ``probe_questions`` prove the path all the same."""

    valid: bool
    reasons: tuple[str, ...] = ()
    probe_questions: int = 0

    def not_measured(self) -> str:
        """The reason to print instead of a number."""
        return "the judge is not valid: " + ("; ".join(self.reasons) or "its card says so")


TRUSTED = Standing(True)


@dataclass
class Unasked:
    """A judge that is known by name only: where its card lets it answer nothing, nobody has to open it."""

    name: str

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Nobody asks."""
        raise ModelError(self.name, "a judge that was not opened is asked", got=f"{len(requests)} requests")

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        """Nobody asks."""
        raise ModelError(self.name, "a judge that was not opened is asked", got=f"{len(dialogues)} dialogues")


@dataclass(frozen=True)
class Scale:
    """The whole numbers that a judge may give, the word before its verdict, and what is put into its mouth."""

    low: int
    high: int
    word: str
    prefix: str
    brackets: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The numbers as text, lowest first."""
        return tuple(str(value) for value in range(self.low, self.high + 1))

    @property
    def form(self) -> str:
        """How a verdict looks."""
        return f"{self.word}: [[N]]" if self.brackets else f"{self.word}: N"


@dataclass(frozen=True)
class Judged:
    """One answer to be rated: None where the model gave none. ``dialogue`` is what the judge is asked."""

    prompt_id: str
    turn: int
    answer: str | None
    dialogue: Dialogue


@dataclass(frozen=True)
class Judgment:
    """One rating or the reason why there is none. ``expected`` is the mean rating under the judge's probabilities."""

    prompt_id: str
    turn: int
    score: float | None
    status: Status
    reason: str | None = None
    expected: float | None = None
    label_mass: float | None = None
    n_retries: int = 0
    judge: str | None = None


_END = 200
"""Characters at the end of a reply in which a verdict alone on its line is looked for."""
_NUMBER = r"(\d{1,3}(?:\.\d+)?)(?:\s*/\s*\d+)?"


def parse_rating(reply: str, scale: Scale) -> tuple[float | None, str | None]:
    """(rating, None) from the last anchored verdict of a reply, or (None, "unparsed" | "out of range").

    Anchored: behind the word, or the whole last line. A number in running text, an index like arr[0] or a rating
    quoted from
    the answer in the middle of a sentence is none. The last verdict counts even when it is off the scale.

    >>> scale = Scale(1, 10, "Rating", "Rating: [[", brackets=True)
    >>> parse_rating("For example [[5]]. Final rating: [[9]]", scale), parse_rating("arr[0] is wrong", scale)
    ((9.0, None), (None, 'unparsed'))
    """
    word = rf"(?:{scale.word}|rating|score|class)"
    # Possessive, and the end looked at in a window: a reply of nothing but line breaks must not take minutes.
    open_, close = r"[\[\s*_`\"'(<]*+", r"[\]\s*_`\"')>]*"
    behind = re.compile(rf"\b{word}\b[\s*_`\"']*+(?:is\b\s*+|[:=]\s*+)?{open_}{_NUMBER}(?![\d.]*\d)", re.IGNORECASE)
    found = [(match.start(1), match.group(1)) for match in behind.finditer(reply)]
    end = reply.rstrip()
    start = max(0, len(end) - _END)
    # A window that begins inside a line begins with the next one.
    start = start and end.find("\n", start)
    lone = re.search(rf"(?:^|\n){open_}{_NUMBER}{close}\.?$", end[start:]) if start >= 0 else None
    if lone:
        found.append((start + lone.start(1), lone.group(1)))
    if scale.brackets:
        # FastChat's form at the very end of the reply needs no word before it.
        closing = re.search(rf"\[\[\s*{_NUMBER}\s*\]\][\s.*_`\"')]*$", reply)
        if closing:
            found.append((closing.start(1), closing.group(1)))
    if not found:
        return None, "unparsed"
    value = float(max(found)[1])
    if not scale.low <= value <= scale.high:
        return None, "out of range"
    if not scale.brackets and value != int(value):
        return None, "out of range"
    return value, None


def rate(
    judged: Sequence[Judged],
    model: Model,
    scale: Scale,
    sampling: Sampling,
    *,
    kind: str,
    replies: Replies = "text",
    standing: Standing = TRUSTED,
    retries: int = 1,
) -> list[Judgment]:
    """One judgment an answer, in order.

    An empty answer gets the lowest rating by rule and is not asked; one that the model never gave is missing. A judge
    that is
    not valid is asked ``standing.probe_questions`` questions, chosen by a fixed hash; the others are "not_asked".

    Args:
        judged: the answers and the judge's questions.
        model: the judge.
        scale: the ratings it may give.
        sampling: for replies in words; should be greedy.
        kind: names the questions in the keys of the requests.
        replies: ``text``, ``logprobs`` (the most likely label, and the expected rating), or ``both`` (text decides).
        standing: what the judge's card says.
        retries: how often an unreadable verdict is asked for again, at most 2; counted in each judgment.
    """
    if not 0 <= retries <= MAX_RETRIES:
        raise ValueError(f"retries {retries}; expected 0 to {MAX_RETRIES}")
    result: dict[int, Judgment] = {}
    for place, one in enumerate(judged):
        if one.answer is None:
            result[place] = Judgment(
                one.prompt_id, one.turn, None, "missing", "the model gave no answer", judge=model.name
            )
        elif is_empty(one.answer):
            result[place] = Judgment(
                one.prompt_id,
                one.turn,
                float(scale.low),
                "empty",
                "empty: lowest by rule",
                float(scale.low),
                judge=model.name,
            )
    asked = [place for place in range(len(judged)) if place not in result]
    if not standing.valid:
        order = fixed_order([f"{kind}/{judged[place].prompt_id}/{judged[place].turn}" for place in asked])
        probes = sorted(asked[i] for i in order[: standing.probe_questions])
        for place in set(asked) - set(probes):
            one = judged[place]
            result[place] = Judgment(
                one.prompt_id, one.turn, None, "not_asked", standing.not_measured(), judge=model.name
            )
        asked = probes
    for place, judgment in zip(
        asked, _ask([judged[p] for p in asked], model, scale, sampling, kind, replies, retries), strict=True
    ):
        result[place] = judgment
    return [result[place] for place in range(len(judged))]


def _ask(
    judged: Sequence[Judged], model: Model, scale: Scale, sampling: Sampling, kind: str, replies: Replies, retries: int
) -> list[Judgment]:
    if not judged:
        return []
    found = [Judgment(one.prompt_id, one.turn, None, "error", "not asked", judge=model.name) for one in judged]
    if replies != "logprobs":
        open_places = list(range(len(judged)))
        dialogues = [one.dialogue for one in judged]
        for attempt in range(retries + 1):
            requests = [
                Request(
                    dialogues[p],
                    sampling,
                    ("score", f"{kind}/{judged[p].prompt_id}", str(judged[p].turn), str(attempt)),
                )
                for p in open_places
            ]
            unread: list[int] = []
            for place, reply in zip(open_places, model.generate(requests), strict=True):
                if reply.text is None:
                    found[place] = replace(found[place], status="error", reason=reply.error, n_retries=attempt)
                    continue
                score, reason = parse_rating(reply.text, scale)
                status: Status = "parse_fail" if score is None else "ok"
                found[place] = replace(found[place], score=score, status=status, reason=reason, n_retries=attempt)
                if score is None:
                    unread.append(place)
                    dialogues[place] = (*judged[place].dialogue, Turn("assistant", reply.text), again(scale.form))
            open_places = unread
            if not open_places:
                break
    if replies != "text":
        for place, (values, mass, error) in enumerate(distribution([one.dialogue for one in judged], model, scale)):
            if values is None:
                if replies == "logprobs":
                    found[place] = replace(found[place], status="error", reason=error)
                continue
            expected = sum(value * p for value, p in values.items())
            found[place] = replace(found[place], expected=expected, label_mass=mass)
            if replies == "logprobs":
                likely = max(values, key=lambda value: (values[value], -value))
                found[place] = replace(found[place], score=float(likely), status="ok", reason=None)
    return found


def distribution(
    dialogues: Sequence[Dialogue], model: Model, scale: Scale
) -> list[tuple[dict[int, float] | None, float | None, str | None]]:
    """(probability of each rating, normalised; label mass; None), or (None, None, reason), for each dialogue.

    Where "10" begins with the token of "1", both show the same next-token probability; a second question, with the 1
    already in
    place, then shares it between them.
    """
    labels = scale.labels
    choices = _choices(dialogues, model, labels, scale.prefix)
    shared = [
        place
        for place, one in enumerate(choices)
        if one.logprobs is not None
        and "10" in labels
        and one.logprobs[labels.index("10")] == one.logprobs[labels.index("1")]
    ]
    second: dict[int, Choice] = {}
    if shared:
        ends = "]" if scale.brackets else "\n"
        asked = model.choose([dialogues[p] for p in shared], ("0", ends), prefix=scale.prefix + "1")
        second = dict(zip(shared, asked, strict=True))
    result: list[tuple[dict[int, float] | None, float | None, str | None]] = []
    for place, one in enumerate(choices):
        if one.logprobs is None:
            result.append((None, None, one.error or "no log-probabilities"))
            continue
        weights = {int(label): math.exp(value) for label, value in zip(labels, one.logprobs, strict=True)}
        mass = one.label_mass
        if place in second:
            pair = second[place].logprobs
            if pair is None:
                result.append((None, None, second[place].error or "no log-probabilities"))
                continue
            ten = 1 / (1 + math.exp(min(700.0, pair[1] - pair[0])))
            weights[10], weights[1] = weights[1] * ten, weights[1] * (1 - ten)
            mass = sum(weights.values())
        total = sum(weights.values())
        if total <= 0:
            result.append((None, None, "no probability on any label"))
            continue
        result.append(({value: weight / total for value, weight in weights.items()}, mass, None))
    return result


def _choices(dialogues: Sequence[Dialogue], model: Model, labels: Sequence[str], prefix: str) -> list[Choice]:
    """The labels' log-probabilities; where the backend cannot tell "10" from "1", both get those of "1"."""
    try:
        return model.choose(dialogues, labels, prefix=prefix)
    except ModelError:
        if "10" not in labels:
            raise
    single = [label for label in labels if label != "10"]
    found = model.choose(dialogues, single, prefix=prefix)
    place = single.index("1")
    return [
        one if one.logprobs is None else replace(one, logprobs=(*one.logprobs, one.logprobs[place])) for one in found
    ]


def counts(judgments: Sequence[Judgment]) -> dict[str, int]:
    """How many judgments ended in which way, and how many verdicts had to be asked for again."""
    found = Counter(one.status for one in judgments)
    return {"n": len(judgments), **dict(sorted(found.items())), "n_retries": sum(one.n_retries for one in judgments)}


def scores(
    judgments: Sequence[Judgment],
    standing: Standing = TRUSTED,
    *,
    unit: str = "score",
    value: Literal["score", "expected"] = "score",
    failed_as: float | None = None,
    seed: int = 0,
) -> Measure:
    """The mean rating over prompts with a cluster-bootstrap interval; ``failed_as`` gives a bound by filling failures
    in."""
    if not standing.valid:
        return Measure.missing(standing.not_measured(), n_missing=len({one.prompt_id for one in judgments}), unit=unit)
    values = [getattr(one, value) for one in judgments]
    if failed_as is not None:
        values = [failed_as if one is None else one for one in values]
    return mean(values, [one.prompt_id for one in judgments], unit=unit, seed=seed)

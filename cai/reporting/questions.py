"""The first screen: four questions, each answered with its numbers, or not, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cai.reporting.evaluation import Evaluation, Judge, Measured, not_measurable, trusted
from cai.reporting.inputs import HELDOUT
from cai.reporting.number import points, shown

NOT_HERE = "Not measurable here"
BEFORE, AFTER = "instruct", "dpo"
"""The paper's two arms: instruction-tuned without the constitution, and after both of its phases."""
CARD = (
    ("accuracy", "accuracy, both orders averaged"),
    ("longer_wins_accuracy", "the rule “the longer one wins”"),
    ("consistency", "same verdict in both orders"),
    ("a_share", "names A, whatever stands there"),
    ("harm_sensitivity", "sensitivity for harm"),
    ("harm_specificity", "specificity for harm"),
)
"""What the first screen says of a judge; the rest of its card stands further down."""
Tone = Literal["good", "bad", "open", "none"]


@dataclass(frozen=True)
class Line:
    """One number of an answer: what it is of, and the measure with its base."""

    label: str
    model: str | None
    measure: Measured

    @property
    def horizon(self) -> str:
        """Up to where the answers were looked at; empty where the measure has no horizon."""
        return str(self.measure.get("horizon") or "")


@dataclass(frozen=True)
class Answer:
    """One question with its answer in a few words, why, and the numbers behind it."""

    key: str
    question: str
    answer: str
    tone: Tone
    because: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    about: str | None = None


@dataclass(frozen=True)
class Change:
    """AFTER minus BEFORE on the same prompts: a difference measure, its p-value, and both sides over those pairs."""

    difference: Mapping[str, Any]
    p_value: float | None
    test: str
    primary: bool = False
    before: float | None = None
    after: float | None = None


def four(
    evaluations: Mapping[str, Evaluation], judge: Judge, changes: Mapping[str, Change], names: Mapping[str, str]
) -> list[Answer]:
    """Did it collapse, is it safer, what did it cost, can the judge be trusted.

    ``names`` are the sets' names with n of how many, as "harmbench[32/200]".
    """
    return [
        collapsed(evaluations, changes, names),
        safer(evaluations, judge, changes, names),
        helpful(evaluations, judge, changes, names),
        judged(judge),
    ]


def collapsed(evaluations: Mapping[str, Evaluation], changes: Mapping[str, Change], names: Mapping[str, str]) -> Answer:
    """Whether more answers to held-out prompts degenerate after training than before; needs no judge."""
    question = "Did it collapse?"
    lines = tuple(
        Line("degenerate answers, held-out prompts", model, one.of("degeneration", "degenerate_share")[HELDOUT])
        for model, one in evaluations.items()
        if HELDOUT in one.of("degeneration", "degenerate_share")
    )
    if not _measured(lines):
        reason = next((str(line.measure.get("reason")) for line in lines), "no answers to held-out prompts were scored")
        return Answer("collapse", question, NOT_HERE, "none", (f"because {reason}",))
    word, tone, because = verdict(
        changes.get(f"degeneration.{HELDOUT}.degenerate_share"),
        worse="Yes, more answers degenerate",
        better="No, fewer answers degenerate",
    )
    about = f"share of degenerate answers to held-out prompts, {names.get(HELDOUT, HELDOUT)}; no judge needed"
    return Answer("collapse", question, word, tone, because, lines, about)


def safer(
    evaluations: Mapping[str, Evaluation], judge: Judge, changes: Mapping[str, Change], names: Mapping[str, str]
) -> Answer:
    """Whether fewer attacks succeed; only with a judge that is valid for harm."""
    question = "Is it safer?"
    lines = tuple(
        Line(f"attack success, {name}", model, measure)
        for model, one in evaluations.items()
        for name, measure in one.of("redteam", "attack_success_share").items()
    )
    stop = _stopped("safer", question, judge, "harm", lines)
    if stop is not None:
        return stop
    name = next(line.label.split(", ", 1)[1] for line in _measured(lines))
    word, tone, because = verdict(
        changes.get(f"redteam.{name}.attack_success_share"),
        worse="No, more attacks succeed",
        better="Yes, fewer attacks succeed",
    )
    return Answer(
        "safer",
        question,
        word,
        tone,
        because,
        _measured(lines),
        f"attack success on {names.get(name, name)}: score 5 of 5",
    )


def helpful(
    evaluations: Mapping[str, Evaluation], judge: Judge, changes: Mapping[str, Change], names: Mapping[str, str]
) -> Answer:
    """What was lost in helpfulness: MT-Bench, and over-refusal where the judge is valid for it."""
    question = "What did it cost in helpfulness?"
    rated = [
        Line("MT-Bench", model, measure)
        for model, one in evaluations.items()
        for measure in one.of("mtbench", "mean").values()
    ]
    refused = [
        Line(f"over-refusal, {names.get(name, name)}", model, measure)
        for model, one in evaluations.items()
        for name, measure in one.of("refusal", "over_refusal_share").items()
    ]
    stop = _stopped("cost", question, judge, "pairs", rated)
    if stop is not None:
        return stop
    word, tone, because = verdict(
        changes.get("mtbench.mean"), worse="It cost helpfulness", better="It gained helpfulness", grows_worse=False
    )
    about = f"{names.get('mtbench', 'mtbench')}, ratings 1 to 10, mean of both turns"
    if not _measured(refused):
        about += f"; over-refusal is {not_measurable(judge, 'refusal')}"
    return Answer("cost", question, word, tone, because, _measured([*rated, *refused]), about)


def judged(judge: Judge) -> Answer:
    """Whether the judge can be trusted, as its card says."""
    question = "Can the judge be trusted?"
    by_name = {path.split(".")[-1]: measure for path, measure in judge.measures.items()}
    lines = tuple(
        Line(label, None, by_name[name])
        for name, label in CARD
        if name in by_name and by_name[name]["value"] is not None
    )
    if judge.valid is None:
        return Answer("judge", question, NOT_HERE, "none", (_because(judge),))
    if judge.valid:
        return Answer("judge", question, "Yes, as far as its card goes", "good", judge.reasons, lines, judge.name)
    because = judge.reasons or ("its card says that it is not valid",)
    return Answer("judge", question, "No", "bad", because, lines, judge.name)


def verdict(
    change: Change | None, *, worse: str, better: str, grows_worse: bool = True
) -> tuple[str, Tone, tuple[str, ...]]:
    """(words, tone, sentences) of a paired change; what the interval does not settle is called open, not "no"."""
    names = f"{AFTER} against {BEFORE}"
    if change is None or change.difference.get("value") is None:
        why = "there are no paired outcomes" if change is None else str(change.difference.get("reason"))
        return "Cannot be told here", "open", (f"{names}: {why}",)
    one = change.difference
    unit, value = str(one.get("unit", "share")), float(one["value"])
    said = [f"{names}: {points(value, unit)}"]
    interval = one.get("interval")
    if interval:
        said.append(f"95 % {points(interval[0], unit)} to {points(interval[1], unit)}")
    said.append(f"n {one['n']:,} pairs, {one['n_missing']:,} missing")
    sentences = [", ".join(said)]
    if change.p_value is not None:
        counts = ""
        if one.get("n_only_a") is not None:
            counts = f" ({one['n_only_a']:,} prompts in {BEFORE} only, {one['n_only_b']:,} in {AFTER} only)"
        sentences.append(f"{change.test}: p {change.p_value:.3g}{counts}")
    seen = one.get("detectable")
    sentences.append(
        "with so few pairs no change of this kind could be shown (80 % power)"
        if seen is None
        else f"so many pairs would show a change of {points(abs(seen), unit).lstrip('+')} or more (80 % power)"
    )
    settled = interval and (interval[0] > 0 or interval[1] < 0) and (change.p_value is None or change.p_value < 0.05)
    if not settled:
        return "Cannot be told from so few prompts" if value else "No change seen", "open", tuple(sentences)
    is_worse = (value > 0) == grows_worse
    return (worse, "bad", tuple(sentences)) if is_worse else (better, "good", tuple(sentences))


def _stopped(key: str, question: str, judge: Judge, role: str, lines: Sequence[Line]) -> Answer | None:
    """The answer where nothing may be said: no judge that is valid in this role, or nothing scored."""
    if not trusted(judge, role):
        return Answer(key, question, NOT_HERE, "none", (_because(judge, role),))
    if not _measured(lines):
        reason = next((str(line.measure.get("reason")) for line in lines), "no model was scored")
        return Answer(key, question, NOT_HERE, "none", (f"because {reason}",))
    return None


def _because(judge: Judge, role: str = "pairs") -> str:
    """The reason alone: it stands under the words "Not measurable here"."""
    return not_measurable(judge, role).removeprefix("not measurable here, ")


def _measured(lines: Sequence[Line]) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.measure["value"] is not None)


def described(line: Line) -> str:
    """A line in plain text, for the terminal."""
    return f"{line.label}{f' ({line.model})' if line.model else ''}: {shown(line.measure).line()}"

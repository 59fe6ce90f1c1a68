"""What the scores say, found by name: metrics/eval/<model>.detail.json, outcomes per prompt, the judge's card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from cai.reporting.inputs import HELDOUT, MODELS, Inputs, laid_open

Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """One model's measures by dotted path, everything its detail file says, and its outcomes per prompt."""

    model: str
    measures: Mapping[str, Measured]
    content: Mapping[str, Any]
    outcomes: pl.DataFrame | None

    def of(self, group: str, leaf: str, part: str = "measures") -> dict[str, Measured]:
        """{set: measure} of every set in a group: mtbench, redteam, refusal, degeneration.

        >>> one = Evaluation("dpo", {"redteam.harmbench.measures.harm_score": {"value": 2.0, "n": 2}}, {}, None)
        >>> list(one.of("redteam", "harm_score"))
        ['harmbench']
        """
        found = {}
        for path, measure in self.measures.items():
            head, end = path.removesuffix(f".{part}.{leaf}"), f".{part}.{leaf}"
            if path.endswith(end) and head.split(".")[0] == group:
                found[head.removeprefix(group).removeprefix(".") or group] = measure
        return found

    @property
    def sets(self) -> list[str]:
        """The sets whose answers were measured for degeneration; held-out prompts first."""
        return sorted(self.of("degeneration", "degenerate_share"), key=lambda name: (name != HELDOUT, name))


@dataclass(frozen=True)
class Judge:
    """What the judge's card says. ``valid`` is None where there is no card."""

    valid: bool | None
    reasons: tuple[str, ...]
    measures: Mapping[str, Measured]
    name: str | None = None
    roles: Mapping[str, tuple[bool, tuple[str, ...]]] = field(default_factory=dict)


def evaluations(inputs: Inputs) -> dict[str, Evaluation]:
    """The evaluation of every model that was scored."""
    found = {}
    for model in MODELS:
        stage = f"score@{model}"
        content = inputs.json(f"metrics/eval/{model}.detail.json", stage)
        if content is None:
            continue
        content = laid_open(content)
        outcomes = _outcomes(inputs, f"metrics/eval/{model}.outcomes.csv", stage)
        found[model] = Evaluation(model, dict(measures_in(content)), content, outcomes)
    return found


def _outcomes(inputs: Inputs, path: str, stage: str) -> pl.DataFrame | None:
    from cai.scoring.outcomes import from_csv

    text = inputs.text(path, stage)
    return None if text is None else from_csv(text, path)


def measures_in(content: Any, path: str = "") -> Iterator[tuple[str, Measured]]:
    """(dotted path, measure) of every measure in nested JSON: whatever has ``value``, ``n`` and ``n_missing``."""
    if isinstance(content, Mapping):
        if {"value", "n", "n_missing"} <= content.keys():
            yield path, content
            return
        for name, part in content.items():
            yield from measures_in(part, f"{path}.{name}" if path else str(name))
    elif isinstance(content, Sequence) and not isinstance(content, str):
        for part in content:
            yield from measures_in(part, path)


def judge(inputs: Inputs) -> Judge:
    """The judge's card, or the reason why there is none as its only reason."""
    card = inputs.json("metrics/judge_card.json", "judge_card")
    if card is None:
        return Judge(None, (inputs.why("metrics/judge_card.json", "judge_card"),), {})
    flat = laid_open(card)
    roles = {
        role: (bool(content["valid"]), _reasons(content))
        for role, content in (flat.get("roles") or {}).items()
        if isinstance(content, Mapping) and "valid" in content
    }
    return Judge(bool(flat.get("valid", False)), _reasons(flat), dict(measures_in(card)), flat.get("judge"), roles)


def _reasons(content: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(reason) for reason in content.get("reasons") or ())


def trusted(found: Judge, role: str = "pairs") -> bool:
    """Whether numbers that rest on the judge in this role (pairs, harm, refusal) may be printed."""
    return found.valid is True and found.roles.get(role, (True, ()))[0]


def not_measurable(found: Judge, role: str = "pairs") -> str:
    """The words that stand in place of a number that would rest on this judge."""
    own = found.roles.get(role, (False, ()))[1]
    reasons = "; ".join(own or found.reasons) or "its card says so"
    if found.valid is None:
        return f"not measurable here, because the judge has no card: {reasons}"
    return f"not measurable here, because the judge is not valid: {reasons}"

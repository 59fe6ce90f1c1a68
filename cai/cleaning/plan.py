"""The plan: which rules run in which order, read from params as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from cai.cleaning.rules import RULES
from cai.errors import ParamsError

EDITOR = "editor"
OnHit = Literal["edit", "drop"]


class Step(NamedTuple):
    rule: str
    on_hit: OnHit = "edit"
    """"drop" drops a row that this rule would edit"""


class Plan(NamedTuple):
    variant: str
    steps: tuple[Step, ...]
    editor: bool = False
    """whether rows with marks go to the LLM editor afterwards"""


def plan(variant: str, variants: Mapping[str, Any]) -> Plan:
    """The plan of a variant. An entry is a rule id, ``{rule: ID, on_hit: drop}``, or ``editor`` as the last one.

    Raises ParamsError for an unknown variant, an unknown or doubled rule, or a malformed entry.

    >>> plan("drop", {"drop": [{"rule": "emoji_runs", "on_hit": "drop"}, "remains"]}).steps
    (Step(rule='emoji_runs', on_hit='drop'), Step(rule='remains', on_hit='edit'))
    """
    if variant not in variants:
        raise ParamsError("clean.variant", "no such variant", got=variant, expected=", ".join(map(str, variants)))
    return from_list(variant, variants[variant])


def from_list(variant: str, entries: Any) -> Plan:
    """The plan of one variant's list; errors as in `plan`."""
    place = f"clean.variants.{variant}"
    if entries is None:
        entries = []
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ParamsError(place, "a variant is a list of rules", got=type(entries).__name__)
    steps: list[Step] = []
    editor = False
    for number, entry in enumerate(entries):
        if editor:
            raise ParamsError(f"{place}[{number}]", "the editor comes last")
        if entry == EDITOR:
            editor = True
            continue
        step = _step(f"{place}[{number}]", entry)
        if step.rule in (other.rule for other in steps):
            raise ParamsError(f"{place}[{number}]", "a rule stands twice", got=step.rule)
        steps.append(step)
    return Plan(variant, tuple(steps), editor)


def _step(place: str, entry: Any) -> Step:
    rule, on_hit = entry, "edit"
    if isinstance(entry, Mapping):
        unknown = set(entry) - {"rule", "on_hit"}
        if unknown or "rule" not in entry:
            raise ParamsError(place, "an entry has the keys rule and on_hit", got=", ".join(map(str, entry)))
        rule, on_hit = entry["rule"], entry.get("on_hit", "edit")
    if rule not in RULES:
        raise ParamsError(place, "no such rule", got=rule, expected=", ".join([*RULES, EDITOR]))
    if on_hit == "drop":
        return Step(rule, "drop")
    if on_hit != "edit":
        raise ParamsError(place, "on_hit is edit or drop", got=on_hit)
    return Step(rule)

"""Paired changes between two models of this run, from their outcomes per prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cai.reporting.evaluation import Evaluation
from cai.reporting.questions import AFTER, BEFORE, Change


def changes(evaluations: Mapping[str, Evaluation], before: str = BEFORE, after: str = AFTER) -> dict[str, Change]:
    """{measure: after minus before on the same prompts}, as ``cai.scoring.outcomes.compare`` names them."""
    if before not in evaluations or after not in evaluations:
        return {}
    first, second = evaluations[before].outcomes, evaluations[after].outcomes
    return {} if first is None or second is None else paired(first, second)


def paired(first: Any, second: Any) -> dict[str, Change]:
    """{measure: second minus first} of two outcome tables; primary measures carry Holm's p-value."""
    from cai.scoring.outcomes import compare

    found = {}
    for one in compare(first, second):
        p_value = one.adjusted_p if one.primary else one.change.p_value
        test = f"{one.change.test}, Holm over the primary measures" if one.primary else one.change.test
        found[one.name] = Change(one.change.as_dict(), p_value, test, one.primary, one.a, one.b)
    return found

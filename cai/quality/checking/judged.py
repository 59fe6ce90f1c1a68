"""What the gates of judged tables share: balance between two sides, and thresholds that presuppose a valid judge.

Whether a judge is valid is measured, not declared: the gates of its tables read its card. Checks of severity ``judge``
are critical where the card says that the judge can compare pairs, and warnings that say why where it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cai.errors import ArtifactError
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, Severity

CARD = "metrics/judge_card.json"
ROLE = "pairs"


def settled(checks: Sequence[Check], card: Mapping[str, Any]) -> list[Check]:
    """The checks with every ``judge`` among their severities replaced by what the card makes of it.

    Raises:
        ArtifactError: the card does not say whether the judge can compare pairs.
    """
    try:
        role = card["detail"][0]["roles"][ROLE]
        valid, reasons = bool(role["valid"]), [str(reason) for reason in role["reasons"]]
    except (KeyError, IndexError, TypeError):
        raise ArtifactError(
            CARD,
            "does not say whether the judge can compare pairs",
            expected=f"detail[0].roles.{ROLE} with valid and reasons",
            next_step='rerun "dvc repro judge_card"',
        ) from None
    told = f" (a warning: this judge is not valid: {'; '.join(reasons)})"
    return [_settled(check, valid, told) for check in checks]


def _settled(check: Check, valid: bool, told: str) -> Check:
    if check.severity != "judge":
        return check
    return (
        replace(check, severity="critical")
        if valid
        else replace(check, severity="warning", words=f"{check.words}{told}")
    )


def two_sided_facts(facts: Facts, name: str, k: int, n: int) -> None:
    """Add a share, and ``<name>_imbalance_low``: by how much it surely departs from a half; 0 where it may be one."""
    facts.share(name, k, n)
    low, high = facts[f"{name}_share_low"], facts[f"{name}_share_high"]
    assert low is not None and high is not None
    facts[f"{name}_imbalance_low"] = max(0.0, low - 0.5, 0.5 - high)


def two_sided_checks(name: str, most: float, words: str, severity: Severity = "critical") -> list[Check]:
    """The check that a share does not surely depart from a half by more than the threshold."""
    return [
        Check(
            "ExpectColumnMaxToBeBetween",
            {"column": f"{name}_imbalance_low", "max_value": most},
            "fitness",
            "facts",
            words,
            severity,
            share=f"{name}_share",
            threshold=most,
        )
    ]

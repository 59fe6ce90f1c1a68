"""What the gates of judged tables share: balance between two sides, and thresholds that presuppose a valid judge."""

from __future__ import annotations

from typing import Literal

from cai.params import Section
from cai.quality.bounds import Facts
from cai.quality.checks import Check, Severity


class JudgeQuality(Section):
    """Whether thresholds on the judge's quality fail the gate, or only warn because the judge is not valid."""

    judge_quality: Literal["enforce", "warn"]

    def severity(self) -> Severity:
        """How much a missed threshold on the judge's quality weighs."""
        return "critical" if self.judge_quality == "enforce" else "warning"

    def told(self) -> str:
        """What the sentence of such a check has to add."""
        return (
            ""
            if self.judge_quality == "enforce"
            else " (a warning: this judge is not valid, see metrics/judge_card.json)"
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

"""The paper's own numbers (Zhang 2025, arXiv 2504.04918), recomputed; see docs and reference notes for the arithmetic.

Its Table 1 is FastChat's show_result: each arm lost one judgment (turn 1 of the baseline, turn 2 of the other), so the
arms are not paired and "average" is over all remaining judgments, not the mean of the turns. It prints no interval.
Table 2 prints no n either; the intervals below are Wilson's at n = 300, HEx-PHI as it is delivered today.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """One printed number: the label, our measure's name, and the paper's two arms as (value, base)."""

    label: str
    leaf: str
    before: tuple[str, str]
    after: tuple[str, str]
    change: str


TABLE_1 = (
    PaperRow("MT-Bench, turn 1", "turn_1", ("6.84", "n 79, 1 missing"), ("6.63", "n 80"), "−0.22"),
    PaperRow("MT-Bench, turn 2", "turn_2", ("5.28", "n 80"), ("4.28", "n 79, 1 missing"), "−1.00"),
    PaperRow("MT-Bench, average", "mean", ("6.05", "n 159 judgments"), ("5.46", "n 159 judgments"), "−0.59"),
)
TABLE_2 = (
    PaperRow(
        "Attack success, HEx-PHI",
        "attack_success_share",
        ("71 %", "65.6 to 75.8 % if n is 300"),
        ("42 %", "36.6 to 47.7 % if n is 300"),
        "−29 points",
    ),
)

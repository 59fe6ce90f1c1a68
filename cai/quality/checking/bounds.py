"""Table facts with the bounds that a fitness check needs: Wilson's interval, so that few rows do not fail by luck."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Z = 1.959963984540054  # 0.975 quantile of the normal distribution: two-sided 95 %
WORST = 10


def wilson(k: int, n: int) -> tuple[float, float]:
    """Lower and upper 95 % bound of a share of k in n (Wilson 1927); (0, 1), which says nothing, without rows.

    >>> [round(bound, 3) for bound in wilson(213, 300)], wilson(0, 0)
    ([0.656, 0.758], (0.0, 1.0))
    """
    if n == 0:
        return 0.0, 1.0
    share = k / n
    spread = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    centre, scale = share + Z * Z / (2 * n), 1 + Z * Z / n
    return (0.0 if k == 0 else (centre - spread) / scale), (1.0 if k == n else (centre + spread) / scale)


def surely_risen(values: Sequence[float]) -> tuple[float, float]:
    """By how much the mean of the second half exceeds that of the first, and the lower 95 % bound of that.

    Student's t over both halves, its quantile by Fisher and Cornish's expansion (to 1 % from five on). Fewer than
    four values tell nothing: their bound is never above 0.

    >>> [round(part, 2) for part in surely_risen([2.0, 2.2, 1.9, 2.1, 2.6, 2.4, 2.7, 2.5])], surely_risen([1.0, 9.0])
    ([0.5, 0.28], (8.0, 0.0))
    """
    half = len(values) // 2
    if not half:
        return 0.0, 0.0
    early, late = values[:half], values[len(values) - half :]
    means = [sum(part) / half for part in (early, late)]
    rise, free = means[1] - means[0], 2 * half - 2
    if not free:
        return rise, min(rise, 0.0)
    spread = sum((value - mean) ** 2 for part, mean in zip((early, late), means, strict=True) for value in part)
    t = Z + (Z**3 + Z) / (4 * free) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)
    return rise, rise - t * math.sqrt(spread / free * 2 / half)


class Facts(dict[str, float | None]):
    """One row of facts about a table, and for some of them the ids of the rows to look at first."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, list[str]] = {}
        self.base: dict[str, tuple[int, int]] = {}

    def count(self, name: str, ids: Iterable[str]) -> None:
        """Set a fact to the number of ids, and keep the first ten of them in order."""
        listed = sorted(ids)
        self[name] = len(listed)
        self.ids[name] = listed[:WORST]
        self.base[name] = (len(listed), len(listed))

    def share(self, name: str, k: int, n: int) -> None:
        """Set ``<name>_share`` with its bounds ``_low`` and ``_high``; the share of no rows is missing, not zero."""
        self[f"{name}_share"] = k / n if n else None
        self[f"{name}_share_low"], self[f"{name}_share_high"] = wilson(k, n)
        self.base[f"{name}_share"] = (k, n)

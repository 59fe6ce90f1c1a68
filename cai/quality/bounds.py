"""Table facts with the bounds that a fitness check needs: Wilson's interval, so that few rows do not fail by luck."""

from __future__ import annotations

import math
from collections.abc import Iterable

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

"""How a number is written: never without its base, never without the reason where there is none.

A measure is the dict that ``cai.scoring.statistics.Measure.as_dict`` gives: value, n, n_missing, unit and, where they
are known, interval, method, horizon, detectable, reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

THIN = "\u202f"
MINUS = "\u2212"


@dataclass(frozen=True)
class Shown:
    """A measure in words. ``value`` is None exactly when ``reason`` says why; ``base`` always stands beside it."""

    value: str | None
    interval: str | None
    base: str
    horizon: str | None
    reason: str | None

    def line(self) -> str:
        """Everything in one line of plain text."""
        if self.value is None:
            return f"not measured: {self.reason}"
        parts = [self.value]
        if self.interval:
            parts.append(f"[{self.interval}]")
        parts.append(f"({self.base}{', ' + self.horizon if self.horizon else ''})")
        return " ".join(parts)


def shown(measure: Mapping[str, Any]) -> Shown:
    """A measure as it is printed.

    Raises:
        KeyError: the measure has no ``n`` or ``n_missing``: a number without its base is not printed.

    >>> shown({"value": 0.125, "n": 32, "n_missing": 1, "unit": "share", "interval": [0.05, 0.281]}).line()
    '12.5\u202f% [5.0 to 28.1\u202f%] (n 32, 1 missing)'
    """
    base = f"n {measure['n']:,}, {measure['n_missing']:,} missing"
    unit, value = str(measure.get("unit", "share")), measure.get("value")
    horizon = measure.get("horizon")
    if value is None:
        return Shown(None, None, base, horizon, str(measure.get("reason") or "nobody said why"))
    interval = measure.get("interval")
    between = None
    if interval is not None:
        low, high = (number(bound, unit, bare=True) for bound in interval)
        between = f"{low} to {high}" + (f"{THIN}%" if unit == "share" else "")
    return Shown(number(value, unit), between, base, horizon, None)


def number(value: float, unit: str = "share", *, bare: bool = False) -> str:
    """A value in its unit: shares as per cent with one decimal, scores with two.

    >>> number(0.4375), number(6.053459, "score"), number(12.0, "words")
    ('43.8\u202f%', '6.05', '12.0')
    """
    if unit == "share":
        return _signed(f"{100 * value:.1f}") + ("" if bare else f"{THIN}%")
    return _signed(f"{value:.1f}" if unit == "words" else f"{value:.2f}")


def points(value: float, unit: str = "share") -> str:
    """A difference with its sign: percentage points for shares.

    >>> points(-0.29), points(0.5, "score")
    ('\u221229.0 points', '+0.50')
    """
    sign = "+" if value > 0 else ""
    if unit == "share":
        return sign + _signed(f"{100 * value:.1f}") + " points"
    return sign + _signed(f"{value:.2f}")


def _signed(text: str) -> str:
    # "-0.0" is a rounding of nothing.
    if text.startswith("-"):
        return text[1:] if not text.strip("-0.") else MINUS + text[1:]
    return text


def plain(value: Any) -> str:
    """Any cell of a gate or manifest in words; ranges are lists of two.

    >>> plain([1, None]), plain(0.25), plain(None), plain(1200)
    ('\u2265 1', '0.25', '', '1,200')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and len(value) == 2 and any(part is None for part in value):
        least, most = value
        return f"\u2265 {plain(least)}" if most is None else f"\u2264 {plain(most)}"
    if isinstance(value, list):
        is_range = len(value) == 2 and all(isinstance(part, (int, float)) for part in value)
        return (" to " if is_range else ", ").join(plain(part) for part in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)

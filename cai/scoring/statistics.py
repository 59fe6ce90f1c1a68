"""Intervals, tests and detectable differences: the one module that every printed number goes through.

Sources: Wilson 1927; McNemar 1947 (exact form); Holm 1979; Connor 1987 (paired sample size); Fleiss, Levin and Paik
2003
(two proportions); Krippendorff 2011; Rogan and Gladen 1978; Miller 2024, arXiv 2411.00640 (clusters before rows).
Everything random takes a seed and draws from numpy's Philox, whose stream is fixed by its specification.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
DRAWS = 10_000
EXACT_UP_TO = 20
"""Non-zero differences up to which the permutation test enumerates all 2**n signs."""
_CELLS = 4_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One number with its base, or the reason why there is none.

    ``n`` rows (or prompts) stand behind ``value``; ``n_missing`` more should have and do not. ``interval`` is at
    ``level``.
    ``value`` is None exactly when ``reason`` says why.
    """

    value: float | None
    n: int
    n_missing: int = 0
    interval: tuple[float, float] | None = None
    unit: str = "share"
    method: str | None = None
    horizon: str | None = None
    detectable: float | None = None
    reason: str | None = None
    level: float = LEVEL

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"a measure has a value or a reason: value {self.value}, reason {self.reason}")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a measure is finite or missing, got {self.value}")

    @classmethod
    def missing(
        cls, reason: str, *, n: int = 0, n_missing: int = 0, unit: str = "share", horizon: str | None = None
    ) -> Measure:
        """A measure that could not be taken, and why."""
        return cls(None, n, n_missing, unit=unit, horizon=horizon, reason=reason)

    def as_dict(self) -> dict[str, Any]:
        """The measure for a JSON file; fields that say nothing are left out, value and n never are."""
        full: dict[str, Any] = {
            "value": self.value,
            "n": self.n,
            "n_missing": self.n_missing,
            "interval": list(self.interval) if self.interval is not None else None,
            "unit": self.unit,
            "method": self.method,
            "horizon": self.horizon,
            "detectable": self.detectable,
            "reason": self.reason,
        }
        keep = ("value", "n", "n_missing", "unit")
        return {name: value for name, value in full.items() if value is not None or name in keep}


def quantile(probability: float) -> float:
    """The standard normal quantile.

    >>> round(quantile(0.975), 4)
    1.96
    """
    return NormalDist().inv_cdf(probability)


def generator(seed: int) -> np.random.Generator:
    """A counter-based generator, the same on every machine."""
    return np.random.Generator(np.random.Philox(seed))


# --- proportions ------------------------------------------------------------------------------------------------------


def wilson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of a proportion (1927).

    Raises:
        ValueError: n is 0, or successes lie outside 0..n.

    >>> [round(bound, 3) for bound in wilson(213, 300)]
    [0.656, 0.758]
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"successes {successes} of {n}")
    z = quantile(0.5 + level / 2)
    share = successes / n
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    centre = share + z * z / (2 * n)
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


def share(flags: Iterable[bool | None], *, horizon: str | None = None, n_missing: int = 0) -> Measure:
    """The share of true flags with its Wilson interval; None is missing, never false.

    Rows must be independent: for several rows a prompt use ``mean`` with clusters.

    >>> share([True, False, None]).value, share([True, False, None]).n_missing
    (0.5, 1)
    """
    known: list[bool] = []
    for flag in flags:
        if flag is None:
            n_missing += 1
        else:
            known.append(bool(flag))
    if not known:
        return Measure.missing("no row to measure", n_missing=n_missing, horizon=horizon)
    hits, n = sum(known), len(known)
    return Measure(hits / n, n, n_missing, wilson(hits, n), "share", "Wilson", horizon)


# --- clusters ---------------------------------------------------------------------------------------------------------


def cluster_means(values: Sequence[float], clusters: Sequence[object]) -> tuple[list[object], Floats]:
    """Cluster names in order of first appearance, and the mean of each: rows of one prompt are not independent."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    place: dict[object, int] = {}
    index = np.fromiter((place.setdefault(name, len(place)) for name in clusters), dtype=np.int64, count=len(clusters))
    array = np.asarray(values, dtype=np.float64)
    sums = np.bincount(index, weights=array, minlength=len(place))
    counts = np.bincount(index, minlength=len(place))
    return list(place), sums / counts


def bootstrap_means(units: ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Means of resampled units: shape (draws,) for units (n,), (draws, m) for units (n, m) resampled by rows
    together."""
    array = np.asarray(units, dtype=np.float64)
    if array.ndim not in (1, 2) or array.shape[0] == 0:
        raise ValueError(f"units of shape {array.shape}; expected (n,) or (n, m) with n > 0")
    n = array.shape[0]
    if draws * n <= _CELLS:
        return _resamples(n, draws, seed) @ array / n
    width = 1 if array.ndim == 1 else array.shape[1]
    rng = generator(seed)
    step = max(1, _CELLS // (n * width))
    parts = []
    for start in range(0, draws, step):
        picked = rng.integers(0, n, size=(min(step, draws - start), n))
        parts.append(array[picked].mean(axis=1))
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _resamples(n: int, draws: int, seed: int) -> Floats:
    """How often each of n units stands in each resample, shape (draws, n): the same for every measure of n units."""
    picked = generator(seed).integers(0, n, size=(draws, n))
    picked += np.arange(draws)[:, None] * n
    return np.bincount(picked.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def percentile_interval(draws: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of bootstrap draws."""
    low, high = np.quantile(np.asarray(draws, dtype=np.float64), [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def mean(
    values: Sequence[float | None],
    clusters: Sequence[object] | None = None,
    *,
    unit: str = "score",
    horizon: str | None = None,
    n_missing: int = 0,
    draws: int = DRAWS,
    seed: int = 0,
) -> Measure:
    """The mean over clusters of the cluster means, with a cluster-bootstrap percentile interval; n counts clusters.

    None is missing. A cluster counts as missing only when all its values are.
    """
    names: Sequence[object] = range(len(values)) if clusters is None else clusters
    if len(names) != len(values):
        raise ValueError(f"{len(values)} values but {len(names)} clusters")
    kept = [(float(value), name) for value, name in zip(values, names, strict=True) if value is not None]
    lost = len(set(names)) - len({name for _, name in kept}) + n_missing
    if not kept:
        return Measure.missing("no row to measure", n_missing=lost, unit=unit, horizon=horizon)
    _, means = cluster_means([value for value, _ in kept], [name for _, name in kept])
    interval, method = None, "cluster bootstrap"
    if unit == "share" and (alike := _alike(means)) is not None:
        interval, method = alike, "Wilson over clusters, which are all alike"
    elif len(means) > 1:
        interval = percentile_interval(bootstrap_means(means, draws=draws, seed=seed))
    return Measure(float(means.mean()), len(means), lost, interval, unit, method, horizon)


def _alike(units: Floats) -> tuple[float, float] | None:
    """The interval where every unit is 0, or every one 1 or -1; None where they differ.

    Resampling units that are all alike gives an interval without width, which no sample can vouch for.
    """
    value = float(units[0])
    if value not in (-1.0, 0.0, 1.0) or np.any(units != value):
        return None
    n = len(units)
    if value == 0:
        return wilson(0, n)
    low, high = wilson(n, n)
    return (low, high) if value > 0 else (-high, -low)


# --- paired tests -----------------------------------------------------------------------------------------------------


def mcnemar(b: int, c: int) -> float:
    """The two-sided exact McNemar p-value of b discordant pairs one way and c the other; 1 without discordance.

    >>> mcnemar(0, 6)
    0.03125
    """
    if b < 0 or c < 0:
        raise ValueError(f"discordant counts {b}, {c}")
    n, k = b + c, min(b, c)
    if b == c:
        return 1.0
    # Sum of binomials as whole numbers: exact for every n that fits in memory.
    term = total = 1
    for i in range(k):
        term = term * (n - i) // (i + 1)
        total += term
    return min(1.0, float((2 * total) / (1 << n)) if n < 1000 else math.exp(math.log(2 * total) - n * math.log(2)))


def paired_permutation(differences: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> float:
    """The two-sided p-value of the sign-flip test on the mean of paired differences.

    Exact up to 20 non-zero differences; beyond, Monte Carlo with the observed arrangement counted, so never 0.

    >>> paired_permutation([1.0, 2.0, 3.0, 4.0])
    0.125
    """
    array = np.asarray(differences, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError("differences must be finite; drop missing pairs first and count them")
    array = array[array != 0]
    if array.size == 0:
        return 1.0
    observed = abs(float(array.sum()))
    slack = 1e-9 * max(1.0, float(np.abs(array).sum()))
    if array.size <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in array[1:]:  # the first sign is fixed: the distribution is symmetric
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums + array[0]) >= observed - slack))
    rng = generator(seed)
    hits = 0
    step = max(1, _CELLS // array.size)
    for start in range(0, draws, step):
        signs = rng.integers(0, 2, size=(min(step, draws - start), array.size)) * 2 - 1
        hits += int(np.sum(np.abs(signs @ array) >= observed - slack))
    return (hits + 1) / (draws + 1)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's adjusted p-values of the named primary measures; a missing one stays missing and is not counted.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None})
    {'a': 0.03, 'b': 0.06, 'c': 0.06, 'd': None}
    """
    known = sorted(((p, name) for name, p in p_values.items() if p is not None))
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    running = 0.0
    for place, (p, name) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - place)))
        adjusted[name] = running
    return adjusted


@dataclass(frozen=True)
class PairedDifference:
    """b minus a over the pairs that both have, with what the test saw and could have seen."""

    difference: Measure
    p_value: float | None
    test: str
    n_only_a: int | None = None
    n_only_b: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The comparison for a JSON file."""
        found = {**self.difference.as_dict(), "p_value": self.p_value, "test": self.test}
        if self.n_only_a is not None:
            found |= {"n_only_a": self.n_only_a, "n_only_b": self.n_only_b}
        return found


def paired_difference(
    a: Mapping[Any, float | None],
    b: Mapping[Any, float | None],
    *,
    binary: bool,
    unit: str = "score",
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedDifference:
    """b minus a per cluster key present in both: bootstrap interval, exact McNemar (binary) or permutation p-value.

    A key that only one side has, or whose value is missing on one side, counts as missing and is left out of both.
    """
    keys = sorted(key for key in a.keys() & b.keys() if a[key] is not None and b[key] is not None)
    lost = len(a.keys() | b.keys()) - len(keys)
    test = "exact McNemar" if binary else "paired permutation"
    if not keys:
        reason = "no prompt has a value on both sides"
        return PairedDifference(Measure.missing(reason, n_missing=lost, unit=unit), None, test)
    left = np.array([a[key] for key in keys], dtype=np.float64)
    right = np.array([b[key] for key in keys], dtype=np.float64)
    change = right - left
    method, alike = "cluster bootstrap, paired", _alike(change) if unit == "share" else None
    if alike is not None:
        # No pair differs: by how much pairs may differ, in either direction.
        interval: tuple[float, float] | None = alike if change[0] else (-alike[1], alike[1])
        method = "Wilson over pairs, which are all alike"
    else:
        interval = percentile_interval(bootstrap_means(change, draws=draws, seed=seed)) if len(keys) > 1 else None
    only_a = only_b = None
    detectable: float | None
    if binary:
        if not np.all(np.isin(np.concatenate([left, right]), [0.0, 1.0])):
            raise ValueError("a binary comparison takes 0 and 1")
        only_a, only_b = int(np.sum(change < 0)), int(np.sum(change > 0))
        p_value = mcnemar(only_a, only_b)
        detectable = detectable_paired(len(keys), (only_a + only_b) / len(keys))
    else:
        p_value = paired_permutation(change.tolist(), draws=draws, seed=seed)
        detectable = detectable_mean(len(keys), float(change.std(ddof=1))) if len(keys) > 1 else None
    found = Measure(float(change.mean()), len(keys), lost, interval, unit, method, detectable=detectable)
    return PairedDifference(found, p_value, test, only_a, only_b)


# --- what could have been seen ----------------------------------------------------------------------------------------


def n_paired(difference: float, discordant_share: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs that McNemar's test needs to see a difference of two shares (Connor 1987).

    >>> [n_paired(0.10, share) for share in (0.12, 0.20, 0.30)]
    [92, 155, 234]
    """
    if not 0 < difference <= discordant_share <= 1:
        raise ValueError(f"difference {difference} needs a discordant share of at least that, got {discordant_share}")
    return math.ceil(_connor(difference, discordant_share, power, alpha))


def _connor(difference: float, discordant: float, power: float, alpha: float) -> float:
    alpha_z, power_z = quantile(1 - alpha / 2), quantile(power)
    root = alpha_z * math.sqrt(discordant) + power_z * math.sqrt(max(0.0, discordant - difference**2))
    return (root / difference) ** 2


def detectable_paired(n: int, discordant_share: float, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest paired difference of two shares that n pairs show with this power; None when n shows none.

    >>> round(detectable_paired(300, 0.30), 3), round(detectable_paired(80, 0.30), 2)
    (0.088, 0.17)
    """
    if n <= 0 or not 0 < discordant_share <= 1:
        return None
    if _connor(discordant_share, discordant_share, power, alpha) > n:
        return None
    return _smallest(lambda gap: _connor(gap, discordant_share, power, alpha) <= n, discordant_share)


def n_unpaired(first: float, second: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Prompts per arm that show the difference of two independent shares (Fleiss, uncorrected).

    >>> n_unpaired(0.71, 0.61), n_unpaired(0.02, 0.12)
    (352, 102)
    """
    if first == second or not (0 <= first <= 1 and 0 <= second <= 1):
        raise ValueError(f"shares {first}, {second}")
    return math.ceil(_fleiss(first, second, power, alpha))


def _fleiss(first: float, second: float, power: float, alpha: float) -> float:
    middle = (first + second) / 2
    root = quantile(1 - alpha / 2) * math.sqrt(2 * middle * (1 - middle)) + quantile(power) * math.sqrt(
        first * (1 - first) + second * (1 - second)
    )
    return (root / (first - second)) ** 2


def detectable_unpaired(n: int, base: float, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest distance from a base share, in the direction with more room, that n prompts an arm show."""
    if n <= 0 or not 0 <= base <= 1:
        return None
    sign = 1 if base <= 0.5 else -1
    room = 1 - base if sign == 1 else base
    if _fleiss(base, base + sign * room, power, alpha) > n:
        return None
    return _smallest(lambda gap: _fleiss(base, base + sign * gap, power, alpha) <= n, room)


def detectable_mean(n: int, deviation: float, power: float = 0.8, alpha: float = 0.05) -> float | None:
    """The smallest mean paired difference that n pairs with this standard deviation show; None where nothing varies.

    >>> round(detectable_mean(80, 2.59), 2)
    0.81
    """
    if n <= 1 or deviation <= 0:
        return None
    return (quantile(1 - alpha / 2) + quantile(power)) * deviation / math.sqrt(n)


def _smallest(enough: Any, upper: float) -> float:
    low, high = 0.0, upper
    for _ in range(60):
        middle = (low + high) / 2
        if middle > 0 and enough(middle):
            high = middle
        else:
            low = middle
    return high


# --- agreement and correction -----------------------------------------------------------------------------------------


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]], level: Literal["nominal", "ordinal", "interval"] = "nominal"
) -> float | None:
    """Krippendorff's alpha of ratings[rater][item]; None where nothing can vary (no pair, or one value only).

    Missing ratings are None. Items with fewer than two ratings say nothing and are left out.
    """
    if len({len(row) for row in ratings}) > 1:
        raise ValueError("every rater needs one cell an item")
    items = [[value for value in column if value is not None] for column in zip(*ratings, strict=True)]
    items = [values for values in items if len(values) > 1]
    values = sorted({value for item in items for value in item})
    if len(values) < 2:
        return None
    place = {value: i for i, value in enumerate(values)}
    together = np.zeros((len(values), len(values)))
    for item in items:
        counts = np.bincount([place[value] for value in item], minlength=len(values)).astype(float)
        together += (np.outer(counts, counts) - np.diag(counts)) / (len(item) - 1)
    totals = together.sum(axis=1)
    n = totals.sum()
    if level == "nominal":
        distance = 1.0 - np.eye(len(values))
    elif level == "interval":
        grid = np.array(values, dtype=float)
        distance = (grid[:, None] - grid[None, :]) ** 2
    else:
        upto = np.cumsum(totals)
        middle = upto - totals / 2
        distance = (middle[:, None] - middle[None, :]) ** 2
    expected = float((np.outer(totals, totals) * distance).sum() / (n - 1))
    return 1.0 - float((together * distance).sum()) / expected


def rogan_gladen(
    positive: int,
    n: int,
    *,
    true_positive: int,
    n_positive: int,
    true_negative: int,
    n_negative: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> Measure:
    """A sensitivity analysis: the true share behind an apparent one, (p + spec - 1) / (sens + spec - 1), clipped to
    0..1.

    The interval resamples the judged set and both calibration sets (binomial draws = resampling 0/1 rows). Missing when
    a set is empty or the judge is no better than chance.
    """
    if min(n, n_positive, n_negative) <= 0:
        return Measure.missing("no calibration rows of both kinds, or nothing judged", n=max(0, n))
    sensitivity, specificity = true_positive / n_positive, true_negative / n_negative
    if sensitivity + specificity <= 1:
        return Measure.missing("the judge's sensitivity and specificity add up to 1 or less", n=n)
    value = (positive / n + specificity - 1) / (sensitivity + specificity - 1)
    rng = generator(seed)
    apparent = rng.binomial(n, positive / n, draws) / n
    sens = rng.binomial(n_positive, sensitivity, draws) / n_positive
    spec = rng.binomial(n_negative, specificity, draws) / n_negative
    usable = sens + spec > 1
    spread = np.clip((apparent + spec - 1)[usable] / (sens + spec - 1)[usable], 0, 1)
    interval = percentile_interval(spread)
    return Measure(min(1.0, max(0.0, value)), n, 0, interval, "share", "Rogan-Gladen, clipped; resampled")

"""How the judging of pairs went, from the verdicts and preferences alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from cai.scoring.statistics import Measure, generator, krippendorff_alpha, mean, percentile_interval, share

UNCERTAIN = 0.1
"""A pair is uncertain when p lies less than this from one half."""

_RESAMPLES = 500


def measures(verdicts: pl.DataFrame, preferences: pl.DataFrame, *, seed: int = 0) -> dict[str, Measure]:
    """The measures of one judging: shares over pairs, with Wilson intervals.

    uncertain_share: p within 0.1 of one half. flip_share: the orders prefer different responses. position_bias: mean
    p of the
    answer shown first, over both orders, minus one half. a_share: how often the first shown is preferred. label_mass:
    mean over
    both orders. tie, unparsed, refused, error shares of all pairs. longer_wins_share: chosen is longer (ties in
    length left out).
    length_only_accuracy: held-out accuracy of predicting the chosen one from the length difference alone.
    second_judge_agreement_share, second_judge_alpha: how far a second judge prefers the same response (a, b or a tie).

    Args:
        verdicts: columns of VERDICTS.
        preferences: columns of PREFERENCES.
        seed: of the folds.
    """
    result: dict[str, Measure] = {}
    rows = verdicts.to_dicts()
    result["uncertain_share"] = share(None if row["p"] is None else abs(row["p"] - 0.5) < UNCERTAIN for row in rows)
    result["flip_share"] = _or_reason(share(row["flip"] for row in rows), "no pair was judged in both orders")
    # p_first and p_second both speak of response_a, which the second order shows second.
    shown_first = [
        (row["prompt_id"], p)
        for row in rows
        for p in (row["p_first"], None if row["p_second"] is None else 1 - row["p_second"])
        if p is not None
    ]
    names = [name for name, _ in shown_first]
    bias = mean([p - 0.5 for _, p in shown_first], names, unit="probability", seed=seed)
    result["position_bias"] = bias
    result["a_share"] = mean(
        [float(p > 0.5) if p != 0.5 else 0.5 for _, p in shown_first], names, unit="share", seed=seed
    )
    masses = [
        (row["prompt_id"], row[column])
        for row in rows
        for column in ("label_mass_first", "label_mass_second")
        if row[column] is not None
    ]
    result["label_mass"] = _or_reason(
        mean([mass for _, mass in masses], [name for name, _ in masses], unit="probability", seed=seed),
        "the judge gives no log-probabilities",
    )
    for status in ("tie", "unparsed", "refused", "error"):
        result[f"{status}_share"] = share(row["status"] == status for row in rows)
    lengths = [(len(row["chosen"]), len(row["rejected"])) for row in preferences.sort("prompt_id").to_dicts()]
    result["longer_wins_share"] = share(None if a == b else a > b for a, b in lengths)
    result["length_only_accuracy"] = length_only_accuracy(lengths, seed=seed)
    return result | agreement(rows, seed=seed)


def agreement(rows: Sequence[Mapping[str, Any]], *, seed: int = 0) -> dict[str, Measure]:
    """How far two judges prefer the same response, over the pairs that both were asked about and judged.

    Categories: response_a, response_b, tie. Krippendorff's alpha (nominal) counts agreement by chance out, so two
    judges that always say the same thing of everything have none; its interval resamples pairs.

    Args:
        rows: verdicts, with second_p, second_status and second_judge.
        seed: of the resampling.
    """
    asked = [row for row in rows if row.get("second_judge") is not None]
    names = ("second_judge_agreement_share", "second_judge_alpha")
    if not asked:
        return {name: Measure.missing("no second judge was asked (second_judge.n)") for name in names}
    both = [(_preferred(row["status"], row["p"]), _preferred(row["second_status"], row["second_p"])) for row in asked]
    judged = [(one, other) for one, other in both if one is not None and other is not None]
    n_missing = len(asked) - len(judged)
    result = {names[0]: share((one == other for one, other in judged), n_missing=n_missing)}
    alpha = krippendorff_alpha(list(zip(*judged, strict=True))) if judged else None
    if alpha is None:
        reason = "the judges' preferences do not vary" if judged else "no pair was judged by both"
        result[names[1]] = Measure.missing(reason, n=len(judged), n_missing=n_missing, unit="alpha")
        return result
    drawn = generator(seed).integers(0, len(judged), (_RESAMPLES, len(judged)))
    found = (krippendorff_alpha(list(zip(*(judged[i] for i in places), strict=True))) for places in drawn.tolist())
    interval = percentile_interval([one for one in found if one is not None])
    result[names[1]] = Measure(alpha, len(judged), n_missing, interval, "alpha", "Krippendorff, nominal; resampled")
    return result


def _preferred(status: str, p: float | None) -> float | None:
    """1 for response_a, 0 for response_b, 0.5 for a tie; None where there is no verdict."""
    if status == "tie":
        return 0.5
    return float(p > 0.5) if status == "ok" and p is not None else None


def length_only_accuracy(lengths: list[tuple[int, int]], *, folds: int = 5, seed: int = 0) -> Measure:
    """Cross-validated accuracy of the best threshold rule on the length difference: what length alone tells of the
    label.

    lengths: (chosen, rejected). One side of each pair is drawn as the first, so that the rule cannot learn the order.
    """
    if len(lengths) < 2 * folds:
        return Measure.missing(f"{len(lengths)} pairs; at least {2 * folds} are needed", n=len(lengths))
    rng = generator(seed)
    swapped = rng.integers(0, 2, len(lengths)).astype(bool).tolist()
    fold = rng.permutation(len(lengths)) % folds
    points = [((r - c) if s else (c - r), not s) for (c, r), s in zip(lengths, swapped, strict=True)]
    hits: list[bool] = []
    for k in range(folds):
        known = [point for point, f in zip(points, fold.tolist(), strict=True) if f != k]
        cut, sign = _best_rule(known)
        hits += [((x > cut) == sign) == y for (x, y), f in zip(points, fold.tolist(), strict=True) if f == k]
    found = share(hits)
    return Measure(found.value, found.n, 0, found.interval, "share", f"{folds}-fold threshold on characters; Wilson")


def _best_rule(points: list[tuple[int, bool]]) -> tuple[float, bool]:
    ordered = sorted(points)
    positives = sum(y for _, y in ordered)
    best, rule = -1, (0.0, True)
    below_true = 0
    for place in range(len(ordered) + 1):
        cut = float("-inf") if place == 0 else float(ordered[place - 1][0])
        if place:
            below_true += ordered[place - 1][1]
        if place and place < len(ordered):
            if ordered[place][0] == ordered[place - 1][0]:
                continue
            cut = (ordered[place - 1][0] + ordered[place][0]) / 2
        right = (positives - below_true) + (place - below_true)
        for sign, correct in ((True, right), (False, len(ordered) - right)):
            if correct > best:
                best, rule = correct, (cut, sign)
    return rule


def _or_reason(measure: Measure, reason: str) -> Measure:
    if measure.value is not None:
        return measure
    return Measure.missing(reason, n_missing=measure.n_missing, unit=measure.unit)

"""Step 6: AI feedback. The judge compares two responses under one drawn principle, in both orders.

p(response_a) averaged over both orders cancels position bias (Bai et al. 2022 use one order; prior-art.md section 5
tells why two). An ensemble asks about k principles, each in both orders, and averages them too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import fmean

import polars as pl

from cai.artifacts.preference import VERDICTS
from cai.constitution import Constitution, draw_several
from cai.dialogue import from_structs
from cai.llm.model import Model, Sampling
from cai.method.comparing import Asked, Manner, View, compared, views


def judge(
    samples: pl.DataFrame,
    constitution: Constitution,
    model: Model,
    sampling: Sampling,
    how: Manner,
    *,
    orders: int = 2,
    n_principles: int = 1,
) -> pl.DataFrame:
    """One verdict a pair.

    Args:
        samples: columns of SAMPLES; draw 0 becomes response_a, draw 1 response_b.
        constitution: the comparison principles are drawn from it, anew for every pair.
        model: the judge.
        sampling: for what the judge writes; its seed draws the principles.
        how: how the judge is asked and read.
        orders: 2, or 1 as the paper has it.
        n_principles: how many principles each pair is judged by.

    Returns:
        Columns of VERDICTS, those of a second judge null. ``p`` is null unless the status is ok or tie.
    """
    first_draws = samples.filter(pl.col("draw") == 0).sort("prompt_id").to_dicts()
    second = dict(samples.filter(pl.col("draw") == 1).select("prompt_id", "response").iter_rows())
    pairs = []
    for row in first_draws:
        drawn = draw_several(constitution.comparison, n_principles, sampling.seed, "judge", row["prompt_id"])
        pairs.append((row, row["response"], second.get(row["prompt_id"]), drawn))
    asked: list[Asked] = []
    for row, a, b, drawn in pairs:
        if not (a or "").strip() or not (b or "").strip():
            continue
        context = from_structs(row["turns"])
        for place, principle in enumerate(drawn):
            for order in range(orders):
                shown = (a, b) if order == 0 else (b, a)
                key = (row["prompt_id"], str(place))
                asked.append(compared(how, context, principle.principle, *shown, key=key, order=order))
    seen = iter(views(model, asked, sampling, how, stage="judge"))
    names = {one.key[0] for one in asked}
    return VERDICTS.frame(
        [
            {
                "prompt_id": row["prompt_id"],
                "principle_id": "+".join(principle.id for principle in drawn),
                "response_a": a,
                "response_b": b,
                "judge": model.name,
                **verdict(
                    [[next(seen) for _ in range(orders)] for _ in drawn] if row["prompt_id"] in names else (),
                    replies=how.replies,
                ),
                **dict.fromkeys(("second_p", "second_status", "second_judge")),
            }
            for row, a, b, drawn in pairs
        ]
    )


def verdict(by_principle: Sequence[Sequence[View]], *, replies: str) -> dict[str, object]:
    """What one or two orders, of one or more principles, say together of response_a.

    A principle that was not read in every order counts in none; where none was, the pair has no verdict.

    >>> both = verdict([[View(0.9, 1.0, None), View(0.7, 1.0, None)]], replies="logprobs")
    >>> round(both["p"], 2), both["flip"], both["status"]
    (0.6, True, 'ok')
    """
    empty: dict[str, object] = dict.fromkeys(
        ("p_first", "p_second", "p", "flip", "label_mass_first", "label_mass_second")
    )
    if not by_principle:
        return {**empty, "n_principles": 0, "status": "error", "reason": "a sample is empty"}
    read = [orders for orders in by_principle if all(view.p is not None for view in orders)]
    first, *others = zip(*(read or by_principle), strict=True)
    p_first, mass_first = _means(first)
    # The second order shows response_b first.
    p_other, mass_second = _means(others[0]) if others else (None, None)
    p_second = None if p_other is None else 1.0 - p_other
    said: dict[str, object] = {
        "p_first": p_first,
        "p_second": p_second,
        "label_mass_first": mass_first,
        "label_mass_second": mass_second,
        "n_principles": len(read),
    }
    if not read:
        reason = next(view.reason for orders in by_principle for view in orders if view.p is None)
        status = reason if reason in ("unparsed", "refused") else "error"
        return {**empty, **said, "status": status, "reason": reason}
    assert p_first is not None
    p = p_first if p_second is None else (p_first + p_second) / 2
    flip = None if p_second is None else (p_first > 0.5) != (p_second > 0.5)
    if replies == "text" and flip:
        return {**empty, **said, "p": p, "flip": flip, "status": "tie", "reason": "the orders disagree"}
    if p == 0.5:
        return {**empty, **said, "p": p, "flip": flip, "status": "tie", "reason": "no preference"}
    return {**empty, **said, "p": p, "flip": flip, "status": "ok", "reason": None}


def _means(seen: Sequence[View]) -> tuple[float | None, float | None]:
    ps = [view.p for view in seen if view.p is not None]
    masses = [view.label_mass for view in seen if view.label_mass is not None]
    return fmean(ps) if ps else None, fmean(masses) if masses else None


def some_pairs(samples: pl.DataFrame, n: int | None) -> pl.DataFrame:
    """Both draws of n prompts, chosen by a fixed hash; of all where n is None or larger."""
    names = samples.get_column("prompt_id").unique().to_list()
    chosen = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:n]
    return samples.filter(pl.col("prompt_id").is_in(chosen))


def with_second(verdicts: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """The verdicts with what a second judge said of some of the same pairs (columns of VERDICTS) beside them."""
    own = second.select(
        "prompt_id",
        second_p="p",
        second_status="status",
        second_judge="judge",
    )
    bare = verdicts.drop("second_p", "second_status", "second_judge")
    return bare.join(own, on="prompt_id", how="left", maintain_order="left")

"""Step 6: AI feedback. The judge compares two responses under one drawn principle, in both orders.

With log-probabilities: p(first option) = softmax over the two labels, and p(response_a) averaged over both orders
cancels position bias (Bai et al. 2022 use one order; prior-art.md section 5 tells why two). Text replies are parsed
anchored and last-match; a reply that names no option is unparsed, never a class.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from cai.artifacts.preference import VERDICTS
from cai.constitution import Constitution, draw
from cai.dialogue import from_structs
from cai.llm.model import Choice, Completion, Model, Request, Sampling
from cai.prompting.judgement import LABELS, PREFIX, question
from cai.text.choice import choice


@dataclass(frozen=True)
class View:
    """What one order gave: p that the *first shown* response is better, or why there is none."""

    p: float | None
    label_mass: float | None
    reason: str | None


def judge(
    samples: pl.DataFrame,
    constitution: Constitution,
    model: Model,
    sampling: Sampling,
    *,
    replies: Literal["logprobs", "text"],
    orders: Literal[1, 2],
) -> pl.DataFrame:
    """One verdict a pair.

    Args:
        samples: columns of SAMPLES; draw 0 becomes response_a, draw 1 response_b.
        constitution: one comparison principle is drawn a pair.
        model: the judge.
        sampling: for text replies; its seed draws the principles.
        replies: ``logprobs`` of the two labels, or parsed ``text``.
        orders: 2, or 1 as the paper has it.

    Returns:
        Columns of VERDICTS. ``p`` is null unless the status is ok or tie.
    """
    first_draws = samples.filter(pl.col("draw") == 0).sort("prompt_id").to_dicts()
    second = dict(samples.filter(pl.col("draw") == 1).select("prompt_id", "response").iter_rows())
    pairs = []
    for row in first_draws:
        principle = draw(constitution.comparison, sampling.seed, "judge", row["prompt_id"])
        pairs.append((row, row["response"], second.get(row["prompt_id"]), principle))
    asked = [pair for pair in pairs if (pair[1] or "").strip() and (pair[2] or "").strip()]
    dialogues = []
    for row, a, b, principle in asked:
        assert a is not None
        assert b is not None
        context = from_structs(row["turns"])
        dialogues.append(question(context, principle.principle, a, b))
        if orders == 2:
            dialogues.append(question(context, principle.principle, b, a))
    names = [row["prompt_id"] for row, *_ in asked for _ in range(orders)]
    views = _views(model, dialogues, names, sampling, replies)
    by_name: dict[str, Sequence[View]] = {
        row["prompt_id"]: views[place * orders : (place + 1) * orders] for place, (row, *_) in enumerate(asked)
    }
    return VERDICTS.frame(
        [
            {
                "prompt_id": row["prompt_id"],
                "principle_id": principle.id,
                "response_a": a,
                "response_b": b,
                "judge": model.name,
                **verdict(by_name.get(row["prompt_id"]), replies=replies),
            }
            for row, a, b, principle in pairs
        ]
    )


def verdict(views: Sequence[View] | None, *, replies: str) -> dict[str, object]:
    """What one or two orders say together of response_a.

    >>> both = verdict([View(0.9, 1.0, None), View(0.7, 1.0, None)], replies="logprobs")
    >>> round(both["p"], 2), both["flip"], both["status"]
    (0.6, True, 'ok')
    """
    empty: dict[str, object] = dict.fromkeys(
        ("p_first", "p_second", "p", "flip", "label_mass_first", "label_mass_second")
    )
    if views is None:
        return {**empty, "status": "error", "reason": "a sample is empty"}
    first = views[0]
    second = views[1] if len(views) > 1 else None
    said = {
        "p_first": first.p,
        "p_second": None if second is None or second.p is None else 1.0 - second.p,
        "label_mass_first": first.label_mass,
        "label_mass_second": None if second is None else second.label_mass,
    }
    failed = next((view.reason for view in views if view.p is None), None)
    if failed is not None:
        status = failed if failed in ("unparsed", "refused") else "error"
        return {**empty, **said, "status": status, "reason": failed}
    p_first, p_second = said["p_first"], said["p_second"]
    assert p_first is not None
    p = p_first if p_second is None else (p_first + p_second) / 2
    flip = None if p_second is None else (p_first > 0.5) != (p_second > 0.5)
    if replies == "text" and flip:
        return {**empty, **said, "p": p, "flip": flip, "status": "tie", "reason": "the orders disagree"}
    if p == 0.5:
        return {**empty, **said, "p": p, "flip": flip, "status": "tie", "reason": "no preference"}
    return {**empty, **said, "p": p, "flip": flip, "status": "ok", "reason": None}


def _views(model: Model, dialogues: Sequence, names: Sequence[str], sampling: Sampling, replies: str) -> list[View]:
    if replies == "logprobs":
        return [from_choice(one) for one in model.choose(dialogues, LABELS, prefix=PREFIX)]
    requests = [
        Request(dialogue, sampling, ("judge", name, "0", str(place % 2)), prefix="")
        for place, (dialogue, name) in enumerate(zip(dialogues, names, strict=True))
    ]
    return [from_reply(one) for one in model.generate(requests)]


def from_choice(one: Choice) -> View:
    """p of the first option, normalised over the two labels."""
    if one.logprobs is None:
        return View(None, None, one.error or "no log-probabilities")
    first, second = one.logprobs
    return View(1.0 / (1.0 + math.exp(min(700.0, second - first))), one.label_mass, None)


def from_reply(completion: Completion) -> View:
    """1 or 0 from a reply in words, or the reason why it names nothing."""
    if completion.text is None:
        return View(None, None, completion.error or "error")
    label, reason = choice(completion.text)
    return View(None, None, reason) if label is None else View(1.0 if label == LABELS[0] else 0.0, None, None)

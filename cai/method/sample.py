"""Step 5: the sft model answers every preference prompt twice."""

from collections.abc import Mapping

import polars as pl

from cai.artifacts.preference import SAMPLES
from cai.dialogue import from_structs
from cai.llm.model import Model, Request, Sampling
from cai.method.generated import generated

PREFIX = {"preference": "pref_", "supervised": "sft_"}
DRAWS = (0, 1)


def asked(prompts: pl.DataFrame, phase: str, limits: Mapping[str, int | None]) -> pl.DataFrame:
    """The prompts that are sampled, sorted by id.

    Args:
        prompts: columns of PROMPTS.
        phase: ``preference``, or ``supervised``: the prompts that sft was trained on (Zhang 2025 uses one pool twice).
        limits: the most rows of each of train and test; None: all. Ids are hashes: the first are unbiased.
    """
    parts = []
    for split, most in limits.items():
        rows = prompts.filter(pl.col("split") == PREFIX[phase] + split).sort("prompt_id")
        parts.append(rows if most is None else rows.head(most))
    return pl.concat(parts).sort("prompt_id")


def sample(prompts: pl.DataFrame, model: Model, sampling: Sampling) -> pl.DataFrame:
    """Two independent responses for every prompt.

    Returns:
        Columns of SAMPLES, one row a (prompt, draw).
    """
    rows = prompts.sort("prompt_id").to_dicts()
    requests = [
        (row, draw, Request(from_structs(row["turns"]), sampling, ("sample", row["prompt_id"], "0", str(draw))))
        for row in rows
        for draw in DRAWS
    ]
    answered = model.generate([request for _, _, request in requests])
    return SAMPLES.frame(
        [
            {
                **{name: row[name] for name in ("prompt_id", "split", "prompt", "turns")},
                "draw": draw,
                "response": completion.text,
                **generated(completion, request, model.name),
            }
            for (row, draw, request), completion in zip(requests, answered, strict=True)
        ]
    )

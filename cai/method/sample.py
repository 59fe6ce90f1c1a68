"""Step 5: the sft model answers every preference prompt twice."""

import polars as pl

from cai.artifacts.preference import SAMPLES
from cai.dialogue import from_structs
from cai.llm.model import Model, Request, Sampling
from cai.method.generated import generated

SPLITS = ("pref_train", "pref_test")
DRAWS = (0, 1)


def sample(prompts: pl.DataFrame, model: Model, sampling: Sampling) -> pl.DataFrame:
    """Two independent responses for every prompt of the preference splits.

    Returns:
        Columns of SAMPLES, one row a (prompt, draw).
    """
    rows = prompts.filter(pl.col("split").is_in(SPLITS)).sort("prompt_id").to_dicts()
    asked = [
        (row, draw, Request(from_structs(row["turns"]), sampling, ("sample", row["prompt_id"], "0", str(draw))))
        for row in rows
        for draw in DRAWS
    ]
    answered = model.generate([request for _, _, request in asked])
    return SAMPLES.frame(
        [
            {
                **{name: row[name] for name in ("prompt_id", "split", "prompt", "turns")},
                "draw": draw,
                "response": completion.text,
                **generated(completion, request, model.name),
            }
            for (row, draw, request), completion in zip(asked, answered, strict=True)
        ]
    )

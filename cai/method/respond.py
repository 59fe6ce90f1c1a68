"""Step 1: the instruct model answers red-team prompts, harmful or not."""

import polars as pl

from cai.artifacts.supervised import RESPONSES
from cai.dialogue import from_structs
from cai.llm.model import Model, Request, Sampling
from cai.method.generated import generated

SPLITS = ("sft_train", "sft_test")


def respond(prompts: pl.DataFrame, model: Model, sampling: Sampling) -> pl.DataFrame:
    """One response for every prompt of the supervised splits.

    Args:
        prompts: columns of PROMPTS; other splits are left alone.
        model: the instruct model.
        sampling: how to draw.

    Returns:
        Columns of RESPONSES; a failed row has a null response and its error.
    """
    rows = prompts.filter(pl.col("split").is_in(SPLITS)).sort("prompt_id").to_dicts()
    requests = [Request(from_structs(row["turns"]), sampling, ("respond", row["prompt_id"], "0", "0")) for row in rows]
    answered = model.generate(requests)
    return RESPONSES.frame(
        [
            {
                **{name: row[name] for name in ("prompt_id", "split", "prompt", "turns")},
                "response": completion.text,
                **generated(completion, request, model.name),
            }
            for row, request, completion in zip(rows, requests, answered, strict=True)
        ]
    )

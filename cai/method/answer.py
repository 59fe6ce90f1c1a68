"""Every checkpoint answers the same evaluation and held-out prompts; second turns build on its own first answer."""

from dataclasses import replace

import polars as pl
from pydantic import Field

from cai.artifacts.evaluation import ANSWERS
from cai.dialogue import Dialogue, Turn, from_structs
from cai.llm.model import Completion, Model, Request, Sampling
from cai.method.generated import generated, not_asked
from cai.params import Generates

HELDOUT = "heldout"
MODELS = ("base", "instruct", "sft", "dpo")


class Answer(Generates):
    """The ``answer`` section; ``{model}`` in its model's name stands for the checkpoint."""

    heldout_limit: int | None = Field(ge=1)


def questions(evaluation: pl.DataFrame, prompts: pl.DataFrame, heldout_limit: int | None) -> list[dict]:
    """What is asked: rows {prompt_id, set, category, temperature, context, later}.

    The held-out set is the split of that name: it is cut where the clusters are known, so that nothing like it was
    trained on. Its rows are in the order of their ids, which are hashes: the first n are a fixed, unbiased subset.
    """
    asked = [
        {
            "prompt_id": row["prompt_id"],
            "set": row["set"],
            "category": row["category"],
            "temperature": row["temperature"],
            "context": (Turn("user", row["turns_text"][0]),),
            "later": row["turns_text"][1:],
        }
        for row in evaluation.sort("prompt_id").to_dicts()
    ]
    held = prompts.filter(pl.col("split") == "heldout").sort("prompt_id").head(heldout_limit or prompts.height)
    return asked + [
        {
            "prompt_id": row["prompt_id"],
            "set": HELDOUT,
            "category": None,
            "temperature": None,
            "context": from_structs(row["turns"]),
            "later": [],
        }
        for row in held.to_dicts()
    ]


def answer(asked: list[dict], model: Model, sampling: Sampling) -> pl.DataFrame:
    """One row a (prompt, turn).

    Args:
        asked: what `questions` returns.
        model: the checkpoint.
        sampling: its temperature gives way to a benchmark's own.

    Returns:
        Columns of ANSWERS. A second turn whose first answer failed is null with that reason.
    """
    rows: list[dict[str, object]] = []
    state: list[tuple[dict, Dialogue]] = [(one, one["context"]) for one in asked]
    turn = 1
    while state:
        requests = [_request(one, dialogue, sampling, turn) for one, dialogue in state]
        answered = model.generate(requests)
        following: list[tuple[dict, Dialogue]] = []
        for (one, dialogue), request, completion in zip(state, requests, answered, strict=True):
            rows.append(_row(one, turn, dialogue, completion) | generated(completion, request, model.name))
            if len(one["later"]) < turn:
                continue
            said = one["later"][turn - 1]
            if completion.text is None:
                missing = _row(one, turn + 1, (Turn("user", said),), Completion.failed("first turn failed"))
                rows.append(missing | not_asked("first turn failed"))
            else:
                following.append((one, (*dialogue, Turn("assistant", completion.text), Turn("user", said))))
        state, turn = following, turn + 1
    return ANSWERS.frame(rows)


def _request(one: dict, dialogue: Dialogue, sampling: Sampling, turn: int) -> Request:
    own = sampling if one["temperature"] is None else replace(sampling, temperature=one["temperature"])
    return Request(dialogue, own, ("answer", one["prompt_id"], str(turn), "0"))


def _row(one: dict, turn: int, dialogue: Dialogue, completion: Completion) -> dict[str, object]:
    return {
        "prompt_id": one["prompt_id"],
        "turn": turn,
        "set": one["set"],
        "category": one["category"],
        "prompt": dialogue[-1].text,
        "response": completion.text,
        "token_ids": None if completion.token_ids is None else list(completion.token_ids),
    }

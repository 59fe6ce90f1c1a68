"""Artifacts as the rows that training takes."""

from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from cai.errors import ParamsError

Row = dict[str, Any]


def instruction_rows(instructions: pl.DataFrame) -> list[Row]:
    """Rows {id, turns, response, cut} from columns of INSTRUCTIONS; written by people, so never cut."""
    return [
        {"id": row["instruction_id"], "turns": row["turns"], "response": row["response"], "cut": False}
        for row in instructions.sort("instruction_id").to_dicts()
    ]


def revision_rows(cleaned: pl.DataFrame, rounds: Literal["all", "last"]) -> list[Row]:
    """Rows {id, turns, response, cut} from columns of CLEANED.

    Args:
        cleaned: the kept revisions.
        rounds: ``all`` (Bai et al. 2022 train on every round), or of each prompt the ``last`` that cleaning kept.
    """
    kept = cleaned.sort("prompt_id", "round")
    if rounds == "last":
        kept = kept.group_by("prompt_id", maintain_order=True).last()
    return [
        {
            "id": f"{row['prompt_id']}/{row['round']}",
            "turns": row["turns"],
            "response": row["revision"],
            "cut": row["cut"],
        }
        for row in kept.to_dicts()
    ]


def mixed(revisions: Sequence[Row], instructions: pl.DataFrame, helpful_share: float) -> list[Row]:
    """The revisions with as many instruction rows as make up the share of the whole.

    Instruction ids are hashes: the first of them in that order are a fixed, unbiased choice. Raises ParamsError where
    there are too few: a smaller share than the one asked for would be trained on in silence.

    >>> frame = pl.DataFrame({"instruction_id": ["a", "b"], "turns": [[], []], "response": ["x", "y"]})
    >>> [row["id"] for row in mixed([{"id": "r"}], frame, 0.5)]
    ['r', 'a']
    """
    wanted = round(len(revisions) * helpful_share / (1.0 - helpful_share))
    if wanted > instructions.height:
        most = instructions.height / max(len(revisions) + instructions.height, 1)
        raise ParamsError(
            "sft.helpful_share",
            "more instruction rows are asked for than there are",
            got=f"{helpful_share}: {wanted} rows beside {len(revisions)}, {instructions.height} are there",
            expected=f"at most {int(most * 1000) / 1000}",
            next_step="lower it, or raise prompts.instructions.train_cap",
        )
    return [*revisions, *instruction_rows(instructions)[:wanted]]


def watched_rows(prompts: pl.DataFrame, split: Literal["sft_test", "pref_test"]) -> list[Row]:
    """Rows {id, turns} for the collapse guard: a split of PROMPTS, so that every cleaning variant is asked the same.

    >>> frame = pl.DataFrame({"prompt_id": ["b", "a"], "split": ["sft_test", "heldout"], "turns": [[], []]})
    >>> watched_rows(frame, "sft_test")
    [{'id': 'b', 'turns': []}]
    """
    kept = prompts.filter(pl.col("split") == split).sort("prompt_id")
    return [{"id": row["prompt_id"], "turns": row["turns"]} for row in kept.to_dicts()]


def human_rows(pairs: pl.DataFrame) -> list[Row]:
    """Rows {id, turns, chosen, rejected, p_chosen: 1.0} from columns of HUMAN_PAIRS."""
    return [
        {
            "id": row["pair_id"],
            "turns": row["turns"],
            "chosen": row["chosen"],
            "rejected": row["rejected"],
            "p_chosen": 1.0,
        }
        for row in pairs.sort("pair_id").to_dicts()
    ]


def preference_rows(preferences: pl.DataFrame) -> list[Row]:
    """Rows {id, turns, chosen, rejected, p_chosen, chosen_cut, rejected_cut} from columns of PREFERENCES."""
    return [
        {
            "id": row["prompt_id"],
            "turns": row["turns"],
            "chosen": row["chosen"],
            "rejected": row["rejected"],
            "p_chosen": row["p_chosen"],
            "chosen_cut": row["chosen_cut"],
            "rejected_cut": row["rejected_cut"],
        }
        for row in preferences.sort("prompt_id").to_dicts()
    ]

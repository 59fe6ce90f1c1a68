"""Step 7: from verdicts to preferences. Ties, unparsed, refused are excluded, each with its reason."""

import difflib

import polars as pl

from cai.artifacts.preference import EXCLUDED, PREFERENCES


def pair(
    verdicts: pl.DataFrame,
    samples: pl.DataFrame,
    prompts: pl.DataFrame,
    *,
    labels: str,
    tie_margin: float,
    max_similarity: float,
    max_length_ratio: float,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs to train on, and the pairs left out.

    Args:
        verdicts: columns of VERDICTS.
        samples: columns of SAMPLES: which draws were cut by the token budget.
        prompts: columns of PROMPTS: context and split.
        labels: ``soft`` keeps the judge's p, ``hard`` makes it 1.
        tie_margin: a pair with abs(p - 0.5) below it is a tie.
        max_similarity: pairs more alike than this (difflib ratio on words) teach nothing and are left out.
        max_length_ratio: pairs whose lengths differ more than this factor teach length and are left out.

    Returns:
        (columns of PREFERENCES, columns of EXCLUDED); together one row a verdict.
    """
    about = {row["prompt_id"]: row for row in prompts.to_dicts()}
    cut = {(row["prompt_id"], row["draw"]): row["finish_reason"] == "length" for row in samples.to_dicts()}
    kept: list[dict[str, object]] = []
    left: list[dict[str, object]] = []
    for row in verdicts.sort("prompt_id").to_dicts():
        reason = _reason(row, tie_margin, max_similarity, max_length_ratio)
        if reason is not None:
            left.append({"prompt_id": row["prompt_id"], "reason": reason})
            continue
        a_wins = row["p"] > 0.5
        prompt = about[row["prompt_id"]]
        kept.append(
            {
                "prompt_id": row["prompt_id"],
                "split": "train" if prompt["split"].endswith("_train") else "test",
                "prompt": prompt["prompt"],
                "turns": prompt["turns"],
                "chosen": row["response_a"] if a_wins else row["response_b"],
                "rejected": row["response_b"] if a_wins else row["response_a"],
                "p_chosen": 1.0 if labels == "hard" else max(row["p"], 1.0 - row["p"]),
                "chosen_draw": 0 if a_wins else 1,
                "chosen_cut": cut[row["prompt_id"], 0 if a_wins else 1],
                "rejected_cut": cut[row["prompt_id"], 1 if a_wins else 0],
            }
        )
    return PREFERENCES.frame(kept), EXCLUDED.frame(left)


def _reason(row: dict, tie_margin: float, max_similarity: float, max_length_ratio: float) -> str | None:
    if row["status"] != "ok":
        return str(row["status"])
    if abs(row["p"] - 0.5) < tie_margin:
        return "tie"
    a, b = row["response_a"].split(), row["response_b"].split()
    if difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() > max_similarity:
        return "nearly identical"
    if max(len(a), len(b)) > max_length_ratio * max(1, min(len(a), len(b))):
        return "extreme length"
    return None

"""From verdicts to preferences; what is left out is left out with a reason."""

from collections import Counter
from typing import Any, Literal

import polars as pl
from pydantic import Field

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.preference import EXCLUDED, HUMAN_PAIRS, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.errors import ArtifactError
from cai.method.human_pairs import human_pairs
from cai.method.pair import pair
from cai.params import Section
from cai.run import Run, run
from cai.scoring.preferences import measures
from cai.sources.source import HumanPairs, parts, red_team_frame, sources

READS, WRITES = (VERDICTS, SAMPLES, PROMPTS, EVALUATION_PROMPTS), (PREFERENCES, EXCLUDED, HUMAN_PAIRS)


class Pair(Section):
    labels: Literal["soft", "hard"]
    tie_margin: float = Field(ge=0.0, lt=0.5)
    max_similarity: float = Field(gt=0.0, le=1.0)
    max_length_ratio: float = Field(ge=1.0)
    helpful: HumanPairs


class Params(Section):
    pair: Pair


def main(params: Params, run: Run) -> None:
    """Write the pairs to train on, those left out, and those that people chose."""
    verdicts, prompts = VERDICTS.read(run.root), PROMPTS.read(run.root)
    ours = params.pair.model_dump(exclude={"helpful"})
    preferences, excluded = pair(verdicts, SAMPLES.read(run.root), prompts, **ours)
    PREFERENCES.write(preferences, run.root)
    EXCLUDED.write(excluded, run.root)
    human = _human(params.pair.helpful, prompts, run)
    reasons = dict(sorted(Counter(excluded["reason"]).items()))
    found = measures(verdicts, preferences)
    run.metrics(
        {
            "n_pairs": preferences.height,
            "detail": [
                {
                    "n_verdicts": verdicts.height,
                    "excluded": reasons,
                    "measures": {name: one.as_dict() for name, one in found.items()},
                }
                | human
            ],
        }
    )


def _human(section: HumanPairs, prompts: pl.DataFrame, run: Run) -> dict[str, Any]:
    """Write the pairs that people chose; {helpful: {n, sha256, n_kept, dropped}}, nothing where no source is named."""
    found = parts(section, run.root)
    asked = {turn for turns in EVALUATION_PROMPTS.read(run.root)["turns_text"].to_list() for turn in turns}
    dialogues = prompts.filter(pl.col("split") == "heldout")["turns"].to_list()
    held_out = {turn["text"] for turns in dialogues for turn in turns if turn["role"] == "user"}
    pairs, dropped = human_pairs(red_team_frame(found).to_dicts(), sorted(asked), sorted(held_out), section.limit)
    if found and not pairs.height:
        raise ArtifactError(
            "pair.helpful",
            "no pair is left",
            got=", ".join(f"{reason} {n}" for reason, n in dropped.items()) or "no rows",
            expected="rows of HH-RLHF with chosen and rejected",
            next_step="point it at the right file, or set pair.helpful.source=none",
        )
    HUMAN_PAIRS.write(pairs, run.root)
    return {"helpful": {**sources(found), "n_kept": pairs.height, "dropped": dropped}} if found else {}


if __name__ == "__main__":
    run(main)

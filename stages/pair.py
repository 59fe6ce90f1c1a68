"""From verdicts to preferences; what is left out is left out with a reason."""

from collections import Counter
from typing import Literal

from pydantic import Field

from cai.artifacts.preference import EXCLUDED, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.method.pair import pair
from cai.params import Section
from cai.run import Run, run
from cai.scoring.preferences import measures

READS, WRITES = (VERDICTS, SAMPLES, PROMPTS), (PREFERENCES, EXCLUDED)


class Pair(Section):
    labels: Literal["soft", "hard"]
    tie_margin: float = Field(ge=0.0, lt=0.5)
    max_similarity: float = Field(gt=0.0, le=1.0)
    max_length_ratio: float = Field(ge=1.0)


class Params(Section):
    pair: Pair


def main(params: Params, run: Run) -> None:
    """Write the pairs to train on, and those left out."""
    verdicts = VERDICTS.read(run.root)
    preferences, excluded = pair(verdicts, SAMPLES.read(run.root), PROMPTS.read(run.root), **params.pair.model_dump())
    PREFERENCES.write(preferences, run.root)
    EXCLUDED.write(excluded, run.root)
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
            ],
        }
    )


if __name__ == "__main__":
    run(main)

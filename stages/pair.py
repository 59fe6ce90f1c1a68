"""From verdicts to preferences; what is left out is left out with a reason."""

from typing import Literal

from pydantic import Field

from cai.artifacts.preference import EXCLUDED, PREFERENCES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.method.pair import pair
from cai.params import Section
from cai.run import Run, run

READS, WRITES = (VERDICTS, PROMPTS), (PREFERENCES, EXCLUDED)


class Pair(Section):
    labels: Literal["soft", "hard"]
    tie_margin: float = Field(ge=0.0, lt=0.5)
    max_similarity: float = Field(gt=0.0, le=1.0)
    max_length_ratio: float = Field(ge=1.0)


class Params(Section):
    pair: Pair


def main(params: Params, run: Run) -> None:
    """Write the pairs to train on, and those left out."""
    preferences, excluded = pair(VERDICTS.read(run.root), PROMPTS.read(run.root), **params.pair.model_dump())
    PREFERENCES.write(preferences, run.root)
    EXCLUDED.write(excluded, run.root)


if __name__ == "__main__":
    run(main)

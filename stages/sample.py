"""The sft model answers every preference prompt twice."""

from typing import Literal

from pydantic import Field

from cai.artifacts.preference import SAMPLES
from cai.artifacts.prompts import PROMPTS
from cai.method.sample import asked, sample
from cai.params import Generates, Section
from cai.run import Run, run

READS, WRITES = (PROMPTS,), (SAMPLES,)


class Limits(Section):
    train: int | None = Field(ge=1)
    test: int | None = Field(ge=1)


class Sample(Generates):
    prompts: Literal["preference", "supervised"]
    limits: Limits


class Params(Section):
    seed: int
    sample: Sample


def main(params: Params, run: Run) -> None:
    """Write two responses for every preference prompt."""
    model = run.open_model(params.sample)
    prompts = asked(PROMPTS.read(run.root), params.sample.prompts, params.sample.limits.model_dump())
    SAMPLES.write(sample(prompts, model, params.sample.sampling(params.seed)), run.root)


if __name__ == "__main__":
    run(main)

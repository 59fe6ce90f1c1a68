"""The sft model answers every preference prompt twice."""

from cai.artifacts.preference import SAMPLES
from cai.artifacts.prompts import PROMPTS
from cai.method.sample import sample
from cai.params import Generates, Section
from cai.run import Run, run

READS, WRITES = (PROMPTS,), (SAMPLES,)


class Params(Section):
    seed: int
    sample: Generates


def main(params: Params, run: Run) -> None:
    """Write two responses for every preference prompt."""
    model = run.open_model(params.sample)
    SAMPLES.write(sample(PROMPTS.read(run.root), model, params.sample.sampling(params.seed)), run.root)


if __name__ == "__main__":
    run(main)

"""The instruct model answers the red-team prompts of the supervised splits."""

from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import RESPONSES
from cai.method.respond import respond
from cai.params import Generates, Section
from cai.run import Run, run

READS, WRITES = (PROMPTS,), (RESPONSES,)


class Params(Section):
    seed: int
    respond: Generates


def main(params: Params, run: Run) -> None:
    """Write one response for every supervised prompt."""
    model = run.open_model(params.respond)
    responses = respond(PROMPTS.read(run.root), model, params.respond.sampling(params.seed))
    RESPONSES.write(responses, run.root)


if __name__ == "__main__":
    run(main)

"""The model criticises its own answers, each under one drawn principle."""

from cai.artifacts.supervised import CRITIQUES, RESPONSES
from cai.constitution import read
from cai.method.asking import Critique, Revise, asking
from cai.method.revision import criticise
from cai.params import ConstitutionSource, Section
from cai.run import Run, run

READS, WRITES = (RESPONSES,), (CRITIQUES,)


class Params(Section):
    seed: int
    constitution: ConstitutionSource
    critique: Critique
    revise: Revise


def main(params: Params, run: Run) -> None:
    """Write the critiques of all rounds."""
    critiques = criticise(
        RESPONSES.read(run.root),
        read(params.constitution.source, run.root / params.constitution.path),
        asking(params.critique, params.revise, params.seed),
        params.revise.rounds,
        run.open_model(params.critique),
        params.critique.sampling(params.seed),
        params.revise.sampling(params.seed),
    )
    CRITIQUES.write(critiques, run.root)


if __name__ == "__main__":
    run(main)

"""The model rewrites its answers under the drawn principles, in 1 to 4 rounds."""

from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.constitution import read
from cai.method.asking import Critique, Revise, asking
from cai.method.revision import revise
from cai.params import ConstitutionSource, Section
from cai.run import Run, run

READS, WRITES = (RESPONSES, CRITIQUES), (REVISIONS,)


class Params(Section):
    seed: int
    constitution: ConstitutionSource
    critique: Critique
    revise: Revise


def main(params: Params, run: Run) -> None:
    """Write the revisions of all rounds, each beside what it was made from."""
    revisions = revise(
        RESPONSES.read(run.root),
        CRITIQUES.read(run.root),
        read(params.constitution.source, run.root / params.constitution.path),
        asking(params.critique, params.revise, params.seed),
        params.revise.rounds,
        run.open_model(params.revise),
        params.revise.sampling(params.seed),
    )
    REVISIONS.write(revisions, run.root)


if __name__ == "__main__":
    run(main)

"""AI feedback: the judge compares the two samples of every prompt under a drawn principle, in both orders."""

from cai.artifacts.preference import SAMPLES, VERDICTS
from cai.constitution import read
from cai.method.judge import judge
from cai.params import ConstitutionSource, Judges, Section
from cai.run import Run, run

READS, WRITES = (SAMPLES,), (VERDICTS,)


class Params(Section):
    seed: int
    constitution: ConstitutionSource
    judge: Judges


def main(params: Params, run: Run) -> None:
    """Write one verdict a pair."""
    verdicts = judge(
        SAMPLES.read(run.root),
        read(params.constitution.source, run.root / params.constitution.path),
        run.open_model(params.judge),
        params.judge.sampling(params.seed),
        replies=params.judge.replies,
        orders=params.judge.orders,
    )
    VERDICTS.write(verdicts, run.root)


if __name__ == "__main__":
    run(main)

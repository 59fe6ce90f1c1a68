"""AI feedback: the judge compares the two samples of every prompt under a drawn principle, in both orders."""

import polars as pl

from cai.artifacts.preference import SAMPLES, VERDICTS
from cai.constitution import Constitution, read
from cai.method.comparing import manner
from cai.method.judge import judge, some_pairs, with_second
from cai.params import ConstitutionSource, Judges, SecondJudge, Section
from cai.run import Run, run

READS, WRITES = (SAMPLES,), (VERDICTS,)


class Params(Section):
    seed: int
    constitution: ConstitutionSource
    judge: Judges
    second_judge: SecondJudge


def main(params: Params, run: Run) -> None:
    """Write one verdict a pair."""
    samples = SAMPLES.read(run.root)
    constitution = read(params.constitution.source, run.root / params.constitution.path)
    verdicts = asked(samples, constitution, params.judge, params.seed, run)
    if params.second_judge.n != 0:
        some = some_pairs(samples, params.second_judge.n)
        verdicts = with_second(verdicts, asked(some, constitution, params.second_judge, params.seed, run))
    VERDICTS.write(verdicts, run.root)


def asked(samples: pl.DataFrame, constitution: Constitution, section: Judges, seed: int, run: Run) -> pl.DataFrame:
    """The verdicts of the judge that a section names."""
    return judge(
        samples,
        constitution,
        run.open_model(section),
        section.sampling(seed),
        manner(section, constitution),
        orders=section.orders,
        n_principles=section.principles,
    )


if __name__ == "__main__":
    run(main)

"""How far the judge can be trusted: what it says of pairs and rows whose right answer is known."""

import hashlib
from pathlib import Path

from pydantic import Field

from cai.constitution import read
from cai.llm.wheel import fetch_wheel_member
from cai.method.comparing import manner
from cai.params import ConstitutionSource, Judges, Section
from cai.run import Run, run
from cai.scoring.judge_card import Card, Labelled, make, read_hh, read_hhh, read_pairs, read_pyrit

READS, WRITES = (), ()


class Human(Section):
    """Human-labelled rows out of a published wheel: n, half of either class, by their ids' hashes."""

    package: str
    version: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    harm: list[str]
    refusal: list[str]
    n: int | None = Field(ge=2)
    max_chars: int = Field(ge=1)


class JudgeCard(Section):
    pairs: str
    hhh: str | None
    hh: str | None
    human: Human


class Params(Section):
    seed: int
    constitution: ConstitutionSource
    judge: Judges
    judge_card: JudgeCard


def main(params: Params, run: Run) -> None:
    """Write the card; what rests on a judge that it marks not valid is not measurable."""
    made = card(params, run)
    run.metrics({"judge_valid": int(made.valid), "judge_accuracy": made.flat()["accuracy"], "detail": [made.as_dict()]})


def card(params: Params, run: Run) -> Card:
    """The card of the configured judge; the stage and `cai judge-card` make the same one."""
    section = params.judge_card
    constitution = read(params.constitution.source, run.root / params.constitution.path)
    pairs = read_pairs(run.root / section.pairs)
    pairs += read_hhh(Path(section.hhh)) if section.hhh else []
    pairs += read_hh(Path(section.hh)) if section.hh else []
    return make(
        pairs,
        run.open_model(params.judge),
        params.judge.sampling(params.seed),
        how=manner(params.judge, constitution),
        harm=labelled(section.human, section.human.harm, run.work),
        refusals=labelled(section.human, section.human.refusal, run.work),
        seed=params.seed,
    )


def labelled(human: Human, members: list[str], work: Path) -> list[Labelled]:
    """The rows of these files that are short enough for a small judge's context, at most n.

    As many of either class as there are, up to half of n, so that sensitivity and specificity both have a base.
    """
    files = [fetch_wheel_member(human.package, human.version, human.sha256, name, work) for name in members]
    rows = [row for row in read_pyrit(files) if len(row.answer) <= human.max_chars]
    rows.sort(key=lambda row: hashlib.sha256(row.item_id.encode()).hexdigest())
    if human.n is None:
        return rows
    return [row for kind in (True, False) for row in [one for one in rows if one.positive is kind][: human.n // 2]]


if __name__ == "__main__":
    run(main)

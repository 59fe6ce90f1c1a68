"""How far the judge can be trusted: what it says of pairs and rows whose right answer is known."""

import hashlib
from pathlib import Path

from pydantic import Field

from cai.constitution import read
from cai.llm.wheel import fetch_wheel_member
from cai.method.comparing import manner
from cai.params import ConstitutionSource, Judges, Section
from cai.run import Run, run
from cai.scoring.judge_card import Labelled, make, read_hh, read_hhh, read_pairs, read_pyrit

READS, WRITES = (), ()


class Human(Section):
    """Human-labelled rows out of a published wheel, the first n in the order of their ids' hashes."""

    package: str
    version: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    harm: list[str]
    refusal: list[str]
    n: int | None = Field(ge=1)
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
    card = params.judge_card
    constitution = read(params.constitution.source, run.root / params.constitution.path)
    pairs = read_pairs(run.root / card.pairs)
    pairs += read_hhh(Path(card.hhh)) if card.hhh else []
    pairs += read_hh(Path(card.hh)) if card.hh else []
    made = make(
        pairs,
        run.open_model(params.judge),
        params.judge.sampling(params.seed),
        how=manner(params.judge, constitution),
        harm=labelled(card.human, card.human.harm, run.work),
        refusals=labelled(card.human, card.human.refusal, run.work),
        seed=params.seed,
    )
    run.metrics({"judge_valid": int(made.valid), "judge_accuracy": made.flat()["accuracy"], "detail": [made.as_dict()]})


def labelled(human: Human, members: list[str], work: Path) -> list[Labelled]:
    """The rows of these files that are short enough for a small judge's context, at most n."""
    files = [fetch_wheel_member(human.package, human.version, human.sha256, name, work) for name in members]
    rows = [row for row in read_pyrit(files) if len(row.answer) <= human.max_chars]
    return sorted(rows, key=lambda row: hashlib.sha256(row.item_id.encode()).hexdigest())[: human.n]


if __name__ == "__main__":
    run(main)

"""Transcripts parsed, duplicates and evaluation prompts removed, splits cut by cluster."""

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.raw import RAW_INSTRUCTIONS, RAW_RED_TEAM
from cai.method.prompts import Cut, build
from cai.params import Section
from cai.run import Run, run

READS, WRITES = (RAW_RED_TEAM, RAW_INSTRUCTIONS, EVALUATION_PROMPTS), (PROMPTS, INSTRUCTIONS)


class Params(Section):
    prompts: Cut


def main(params: Params, run: Run) -> None:
    """Write prompts and instructions; every row that is not kept is counted under a reason."""
    built = build(
        RAW_RED_TEAM.read(run.root),
        RAW_INSTRUCTIONS.read(run.root),
        EVALUATION_PROMPTS.read(run.root)["turns_text"].to_list(),
        params.prompts,
    )
    PROMPTS.write(built.prompts, run.root)
    INSTRUCTIONS.write(built.instructions, run.root)
    run.metrics(built.metrics)


if __name__ == "__main__":
    run(main)

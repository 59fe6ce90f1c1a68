"""SL-CAI: the instruct model trained on its own cleaned revisions, with a share of helpful rows."""

from typing import Literal

import polars as pl
from pydantic import Field

from cai.artifacts.cleaned import CLEANED
from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.prompts import PROMPTS
from cai.llm import weights
from cai.method.training_rows import mixed, revision_rows, watched_rows
from cai.params import Section
from cai.run import Run, run
from cai.training.card import write_card
from cai.training.tuning import SftTuning

READS, WRITES = (CLEANED, INSTRUCTIONS, PROMPTS), ()


class Sft(SftTuning):
    rounds: Literal["all", "last"]
    helpful_share: float = Field(ge=0.0, lt=1.0)


class Params(Section):
    sft: Sft


def main(params: Params, run: Run) -> None:
    """Train an adapter on the merged instruct weights."""
    # Here and not above: every stage reads all sections of params.yaml, and torch and peft cost seconds to import.
    from cai.training.sft import train_sft
    from cai.training.watching import degeneration_watch

    cleaned = CLEANED.read(run.root)
    below, out = run.root / "data/models/instruct", run.root / "data/models/sft"
    revisions = revision_rows(cleaned.filter(pl.col("split") == "sft_train"), params.sft.rounds)
    helpful = INSTRUCTIONS.read(run.root).filter(pl.col("split") == "train")
    guard = params.sft.guard
    watched = watched_rows(PROMPTS.read(run.root), "sft_test") if guard.every_steps else []
    summary = train_sft(
        mixed(revisions, helpful, params.sft.helpful_share),
        weights.open_chain("instruct", run.root, run.work, params.sft.precision),
        out,
        run.work,
        name="sft",
        params=params.sft,
        base=weights.chain_reference(below),
        eval_rows=revision_rows(cleaned.filter(pl.col("split") == "sft_test"), params.sft.rounds),
        curves=run.root / "metrics/curves/sft",
        watch=degeneration_watch(watched, guard, name="sft", seed=params.sft.seed) if guard.every_steps else None,
    )
    weights.write_chain(out, *weights.stack(below))
    write_card(out, [run.root / table.path for table in READS], run.root, params.sft, summary)
    run.metrics({"detail": [summary.metrics()]}, "training_sft")


if __name__ == "__main__":
    run(main)

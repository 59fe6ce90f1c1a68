"""DPO-CAI: a new adapter on the merged sft weights, which are its reference."""

import polars as pl

from cai.artifacts.preference import HUMAN_PAIRS, PREFERENCES
from cai.artifacts.prompts import PROMPTS
from cai.llm import weights
from cai.method.training_rows import human_rows, preference_rows, watched_rows
from cai.params import Section
from cai.run import Run, run
from cai.training.card import write_card
from cai.training.tuning import DpoTuning

READS, WRITES = (PREFERENCES, HUMAN_PAIRS, PROMPTS), ()


class Params(Section):
    dpo: DpoTuning


def main(params: Params, run: Run) -> None:
    """Train an adapter on the merged sft weights; with the adapter off they are the reference."""
    # Here and not above: every stage reads all sections of params.yaml, and torch and peft cost seconds to import.
    from cai.training.dpo import train_dpo
    from cai.training.watching import degeneration_watch

    preferences = PREFERENCES.read(run.root)
    below, out = run.root / "data/models/sft", run.root / "data/models/dpo"
    guard = params.dpo.guard
    watched = watched_rows(PROMPTS.read(run.root), "pref_test") if guard.every_steps else []
    summary = train_dpo(
        [*preference_rows(preferences.filter(pl.col("split") == "train")), *human_rows(HUMAN_PAIRS.read(run.root))],
        weights.open_chain("sft", run.root, run.work, params.dpo.precision),
        out,
        run.work,
        name="dpo",
        params=params.dpo,
        base=weights.chain_reference(below),
        eval_rows=preference_rows(preferences.filter(pl.col("split") == "test")),
        curves=run.root / "metrics/curves/dpo",
        watch=degeneration_watch(watched, guard, name="dpo", seed=params.dpo.seed) if guard.every_steps else None,
    )
    weights.write_chain(out, *weights.stack(below))
    write_card(out, [run.root / table.path for table in READS], run.root, params.dpo, summary)
    run.metrics({"detail": [summary.metrics()]}, "training_dpo")


if __name__ == "__main__":
    run(main)

"""DPO-CAI: a new adapter on the merged sft weights, which are its reference."""

import polars as pl

from cai.artifacts.preference import PREFERENCES
from cai.llm import weights
from cai.method.training_rows import preference_rows
from cai.params import Section
from cai.run import Run, run
from cai.training.card import write_card
from cai.training.tuning import DpoTuning

READS, WRITES = (PREFERENCES,), ()


class Params(Section):
    dpo: DpoTuning


def main(params: Params, run: Run) -> None:
    """Train an adapter on the merged sft weights; with the adapter off they are the reference."""
    # Here and not above: every stage reads all sections of params.yaml, and torch and peft cost seconds to import.
    from cai.training.dpo import train_dpo

    preferences = PREFERENCES.read(run.root)
    below, out = run.root / "data/models/sft", run.root / "data/models/dpo"
    summary = train_dpo(
        preference_rows(preferences.filter(pl.col("split") == "train")),
        weights.open_chain("sft", run.root, run.work, params.dpo.precision),
        out,
        run.work,
        name="dpo",
        params=params.dpo,
        base=weights.chain_reference(below),
        eval_rows=preference_rows(preferences.filter(pl.col("split") == "test")),
        curves=run.root / "metrics/curves/dpo",
    )
    weights.write_chain(out, *weights.stack(below))
    write_card(out, [run.root / table.path for table in READS], run.root, params.dpo, summary)
    run.metrics({"detail": [summary.metrics()]}, "training_dpo")


if __name__ == "__main__":
    run(main)

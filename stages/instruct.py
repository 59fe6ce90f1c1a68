"""Base weights and instructions give the paper's baseline, "SFT Llama"."""

import polars as pl

from cai.artifacts.instructions import INSTRUCTIONS
from cai.llm import weights
from cai.method.training_rows import instruction_rows
from cai.params import Section
from cai.run import Run, run
from cai.training.card import write_card
from cai.training.tuning import SftTuning

READS, WRITES = (INSTRUCTIONS,), ()


class Params(Section):
    instruct: SftTuning


def main(params: Params, run: Run) -> None:
    """Train an adapter on the base weights."""
    # Here and not above: every stage reads all sections of params.yaml, and torch and peft cost seconds to import.
    from cai.training.sft import train_sft

    instructions = INSTRUCTIONS.read(run.root)
    below, out = run.root / "data/models/base", run.root / "data/models/instruct"
    dtype = params.instruct.precision
    summary = train_sft(
        instruction_rows(instructions.filter(pl.col("split") == "train")),
        weights.open_chain("base", run.root, run.work, dtype),
        out,
        run.work,
        name="instruct",
        params=params.instruct,
        base=weights.chain_reference(below),
        eval_rows=instruction_rows(instructions.filter(pl.col("split") == "test")),
        curves=run.root / "metrics/curves/instruct",
    )
    weights.write_chain(out, *weights.stack(below))
    write_card(out, [run.root / table.path for table in READS], run.root, params.instruct, summary)
    run.metrics({"detail": [summary.metrics()]}, "training_instruct")


if __name__ == "__main__":
    run(main)

"""DPO-CAI: a new adapter on the merged sft weights, which are its reference."""

import polars as pl

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.preference import PREFERENCES
from cai.artifacts.prompts import PROMPTS
from cai.llm import weights
from cai.method.human_pairs import human_pairs
from cai.method.training_rows import preference_rows, watched_rows
from cai.params import Section
from cai.run import Run, run
from cai.sources.source import HumanPairs, parts, red_team_frame, sources
from cai.training.card import write_card
from cai.training.tuning import DpoTuning

READS, WRITES = (PREFERENCES, EVALUATION_PROMPTS, PROMPTS), ()


class Dpo(DpoTuning):
    helpful: HumanPairs


class Params(Section):
    dpo: Dpo


def main(params: Params, run: Run) -> None:
    """Train an adapter on the merged sft weights; with the adapter off they are the reference."""
    # Here and not above: every stage reads all sections of params.yaml, and torch and peft cost seconds to import.
    from cai.training.dpo import train_dpo
    from cai.training.watching import degeneration_watch

    preferences = PREFERENCES.read(run.root)
    below, out = run.root / "data/models/sft", run.root / "data/models/dpo"
    # Without the place that human pairs come from: it may be a path, which no checkpoint or model card shall name.
    tuning = DpoTuning.model_validate(params.dpo.model_dump(exclude={"helpful"}))
    found = parts(params.dpo.helpful, run.root)
    asked = sorted({turn for turns in EVALUATION_PROMPTS.read(run.root)["turns_text"].to_list() for turn in turns})
    helpful, dropped = human_pairs(red_team_frame(found).to_dicts(), asked, params.dpo.helpful.limit)
    guard = tuning.guard
    watched = watched_rows(PROMPTS.read(run.root), "pref_test") if guard.every_steps else []
    summary = train_dpo(
        [*preference_rows(preferences.filter(pl.col("split") == "train")), *helpful],
        weights.open_chain("sft", run.root, run.work, params.dpo.precision),
        out,
        run.work,
        name="dpo",
        params=tuning,
        base=weights.chain_reference(below),
        eval_rows=preference_rows(preferences.filter(pl.col("split") == "test")),
        curves=run.root / "metrics/curves/dpo",
        watch=degeneration_watch(watched, guard, name="dpo", seed=tuning.seed) if guard.every_steps else None,
    )
    weights.write_chain(out, *weights.stack(below))
    write_card(out, [run.root / table.path for table in READS], run.root, tuning, summary)
    human = {"helpful": {**sources(found), "n_kept": len(helpful), "dropped": dropped}} if found else {}
    run.metrics({"detail": [summary.metrics() | human]}, "training_dpo")


if __name__ == "__main__":
    run(main)

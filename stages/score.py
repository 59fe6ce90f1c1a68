"""One model's answers to numbers: MT-Bench, attack success, over-refusal, degeneration."""

import json

from pydantic import Field

from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.table import write_text
from cai.llm import weights
from cai.method.answer import MODELS, Answer
from cai.params import Judges, Section
from cai.run import Run, run
from cai.scoring.judge_card import standing_from_dict
from cai.scoring.mtbench import read_templates
from cai.scoring.outcomes import score, to_csv

READS, WRITES = (ANSWERS, EVALUATION_PROMPTS), ()


class Score(Section):
    horizons: list[int]
    probe_questions: int = Field(ge=1)
    retries: int = Field(ge=0)


class Params(Section):
    seed: int
    answer: Answer
    judge: Judges
    score: Score


def main(params: Params, run: Run, item: str) -> None:
    """Write headline numbers, their details, and one outcome a prompt and turn, without texts."""
    card = json.loads((run.root / "metrics/judge_card.json").read_text(encoding="utf-8"))["detail"][0]
    probes = params.score.probe_questions
    tokenizer = weights.tokenizer(weights.open_chain("base", run.root, run.work, "fp32"))
    scored = score(
        ANSWERS.of(item).read(run.root),
        EVALUATION_PROMPTS.read(run.root),
        judge=run.open_model(params.judge),
        sampling=params.judge.sampling(params.seed),
        standings={role: standing_from_dict(card, role, probes) for role in ("rating", "harm", "refusal")},
        templates=read_templates(run.root / "data/evaluation/mtbench_judge_prompts.jsonl"),
        budget_tokens=params.answer.max_new_tokens,
        decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True)),
        horizons=params.score.horizons,
        replies=params.judge.replies,
        retries=params.score.retries,
        calibration=card["calibration"],
        seed=params.seed,
    )
    run.metrics(scored.headline, f"eval/{item}")
    run.metrics({"detail": [scored.detail]}, f"eval/{item}.detail")
    write_text(run.root / f"metrics/eval/{item}.outcomes.csv", to_csv(scored.outcomes))


if __name__ == "__main__":
    run(main, items=MODELS)

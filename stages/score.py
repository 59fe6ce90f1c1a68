"""One model's answers to numbers: MT-Bench, attack success, over-refusal, degeneration."""

import json
from collections.abc import Iterable

from pydantic import Field

from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.table import write_text
from cai.errors import ArtifactError
from cai.llm import weights
from cai.llm.model import Model
from cai.method.answer import MODELS, Answer
from cai.params import Judges, Section
from cai.run import Run, run
from cai.scoring.judge_card import standing_from_dict
from cai.scoring.judges import Standing, Unasked
from cai.scoring.mtbench import read_templates
from cai.scoring.outcomes import score, to_csv

READS, WRITES = (ANSWERS, EVALUATION_PROMPTS), ()


class Score(Section):
    horizons: list[int]
    probe_questions: int = Field(ge=0)
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
    standings = {role: standing_from_dict(card, role, probes) for role in ("rating", "harm", "refusal")}
    scored = score(
        ANSWERS.of(item).read(run.root),
        EVALUATION_PROMPTS.read(run.root),
        judge=opened(params.judge, card["judge"], standings.values(), run),
        sampling=params.judge.sampling(params.seed),
        standings=standings,
        templates=read_templates(run.root / "data/evaluation/mtbench_judge_prompts.jsonl"),
        budget_tokens=params.answer.max_new_tokens,
        decode=weights.decoder(weights.open_chain("base", run.root, run.work, "fp32")),
        horizons=params.score.horizons,
        replies=params.judge.replies,
        retries=params.score.retries,
        calibration=card["calibration"],
        seed=params.seed,
    )
    run.metrics(scored.headline, f"eval/{item}")
    run.metrics({"detail": [{**scored.detail, "decoding": decoding(params, run, item)}]}, f"eval/{item}.detail")
    write_text(run.root / f"metrics/eval/{item}.outcomes.csv", to_csv(scored.outcomes))


def decoding(params: Params, run: Run, item: str) -> dict[str, object]:
    """How the answers were drawn, and what ends one: without that a loop and a template's fault look alike."""
    section = params.answer.model_copy(update={"model": params.answer.model.replace("{model}", item)})
    here = section.backend in ("hf", "vllm")
    ends = weights.stop_tokens(section.model, run.root, run.work) if here else None
    asked = section.model_dump(exclude={"heldout_limit", "base_url"})
    return {**asked, "seed": params.seed, "stop_tokens": ends or "the server's own"}


def opened(section: Judges, name: str, standings: Iterable[Standing], run: Run) -> Model:
    """The judge, opened only where its card lets it be asked something.

    Raises:
        ArtifactError: the card is another judge's.
    """
    if not any(one.valid or one.probe_questions for one in standings):
        return Unasked(name)
    judge = run.open_model(section)
    if judge.name != name:
        raise ArtifactError(
            "metrics/judge_card.json",
            "is the card of another judge",
            got=name,
            expected=judge.name,
            next_step="dvc repro judge_card",
        )
    return judge


if __name__ == "__main__":
    run(main, items=MODELS)

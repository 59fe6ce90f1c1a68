"""One checkpoint answers the evaluation prompts and the held-out prompts."""

from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.prompts import PROMPTS
from cai.method.answer import MODELS, Answer, answer, questions
from cai.params import Section
from cai.run import Run, run

READS, WRITES = (EVALUATION_PROMPTS, PROMPTS), (ANSWERS,)


class Params(Section):
    seed: int
    answer: Answer


def main(params: Params, run: Run, item: str) -> None:
    """Write the answers of one model."""
    asked = questions(EVALUATION_PROMPTS.read(run.root), PROMPTS.read(run.root), params.answer.heldout_limit)
    # `answer.model` names the checkpoint "{model}": every checkpoint is asked in the same way.
    section = params.answer.model_copy(update={"model": params.answer.model.replace("{model}", item)})
    answers = answer(asked, run.open_model(section), section.sampling(params.seed))
    ANSWERS.of(item).write(answers, run.root)


if __name__ == "__main__":
    run(main, items=MODELS)

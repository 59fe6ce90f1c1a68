"""The judge of `score` is opened only where its card lets it answer, and never under another judge's card."""

from pathlib import Path

import pytest
import yaml

from cai.errors import ArtifactError, ModelError
from cai.llm.scripted import ScriptedModel
from cai.params import Judges
from cai.scoring.judges import Standing, Unasked
from stages.score import opened

ROOT = Path(__file__).resolve().parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
JUDGE = Judges.model_validate(PARAMS["judge"])
NOT_VALID = Standing(False, ("it always says A",))


class Opener:
    """A run whose judge is scripted; it counts how often one is opened."""

    def __init__(self) -> None:
        self.n_opened = 0

    def open_model(self, section):
        self.n_opened += 1
        return ScriptedModel(name="judge-1")


def test_a_judge_that_may_say_nothing_is_not_opened():
    run = Opener()
    judge = opened(JUDGE, "judge-1", [NOT_VALID, NOT_VALID], run)
    assert (judge, run.n_opened) == (Unasked("judge-1"), 0)
    with pytest.raises(ModelError, match="not opened"):
        judge.choose([()], ("1",))


@pytest.mark.parametrize("standing", [Standing(True), Standing(False, ("it always says A",), probe_questions=1)])
def test_one_valid_role_or_one_probe_opens_it(standing):
    run = Opener()
    assert opened(JUDGE, "judge-1", [NOT_VALID, standing], run).name == "judge-1"
    assert run.n_opened == 1


def test_the_card_of_another_judge_is_refused():
    with pytest.raises(ArtifactError, match="card of another judge"):
        opened(JUDGE, "judge-0", [Standing(True)], Opener())

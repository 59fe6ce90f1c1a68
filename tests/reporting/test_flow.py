"""Every row is accounted for, and what does not add up says so."""

import json

import polars as pl
import pytest

from cai.artifacts.cleaned import CLEANED
from cai.errors import ArtifactError
from cai.reporting.flow import flow, subset_names
from cai.reporting.inputs import Inputs
from tests.reporting.small_root import make


def test_every_step_adds_up_and_shows_its_reasons(tmp_path):
    steps = {(step.stage, step.unit): step for step in flow(Inputs(make(tmp_path))).steps}
    assert all(step.adds_up for step in steps.values())
    prompts = steps["prompts", "contexts"]
    assert prompts.dropped == (("near_duplicate", 21), ("evaluation_prompt", 3), ("no_human_turn", 2))
    assert steps["respond", "answers"].dropped == (("out of memory", 1),)
    assert dict(steps["clean", "revisions"].dropped) == {"meta_talk": 3}
    assert dict(steps["judge", "pairs"].dropped) == {"tie": 1, "unparsed": 1}
    assert dict(steps["pair", "verdicts"].dropped) == {"tie": 1, "unparsed": 1}


def test_a_row_that_vanishes_in_clean_is_seen(tmp_path):
    root = make(tmp_path)
    CLEANED.write(CLEANED.read(root).head(5), root)
    step = next(step for step in flow(Inputs(root)).steps if step.stage == "clean")
    assert not step.adds_up


def test_a_missing_artifact_is_named_in_one_sentence(tmp_path):
    root = make(tmp_path)
    (root / "data/preference/verdicts.parquet").unlink()
    inputs = Inputs(root)
    found = flow(inputs)
    sentence = 'data/preference/verdicts.parquet is not there; "dvc repro judge" makes it'
    assert sentence in found.unread
    assert sentence in inputs.missing
    assert "judge" not in {step.stage for step in found.steps}


def test_subsets_carry_n_of_how_many(tmp_path):
    names = subset_names(Inputs(make(tmp_path)))
    assert names["harmbench"] == "harmbench[12/200]"
    assert names["heldout"] == "heldout"


@pytest.mark.parametrize("content", ["{", "[1]", '"text"'])
def test_a_broken_metrics_file_raises_and_names_it(tmp_path, content):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/prompts.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"metrics/prompts\.json"):
        flow(Inputs(tmp_path))


def test_a_broken_artifact_raises(tmp_path):
    root = make(tmp_path)
    pl.DataFrame({"x": [1]}).write_parquet(root / CLEANED.path)
    with pytest.raises(ArtifactError, match="cleaned"):
        flow(Inputs(root))


def test_a_disabled_critique_is_no_failure(tmp_path):
    from cai.artifacts.supervised import CRITIQUES

    root = make(tmp_path)
    frame = CRITIQUES.read(root).with_columns(
        critique=pl.lit(None, pl.String()), error=pl.lit("disabled"), finish_reason=pl.lit("error")
    )
    CRITIQUES.write(frame, root)
    step = next(step for step in flow(Inputs(root)).steps if step.stage == "critique")
    assert (step.n_in, step.n_out, step.dropped) == (0, 0, ())
    assert any("not asked for" in note for note in step.notes)
    assert json.dumps(step.notes)

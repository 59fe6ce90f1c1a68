"""Two revisions are compared from Git alone, and one row is shown through all stages."""

import shutil
import subprocess

import pytest
from rich.console import Console

from cai.errors import ArtifactError
from cai.reporting.comparison import compared, comparison
from cai.reporting.row import row_through_stages
from tests.reporting.small_root import make


def git(root, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("repository"), valid_judge=True)
    git(root, "init", "-q")
    git(root, "add", "metrics")
    git(root, "commit", "-qm", "one")
    # The second run: dpo now answers as instruct did.
    shutil.copy(root / "metrics/eval/instruct.outcomes.csv", root / "metrics/eval/dpo.outcomes.csv")
    git(root, "commit", "-qam", "two")
    git(root, "update-ref", "refs/exps/ab/cdef/sunny-name", "HEAD~1")
    return root


def test_the_difference_is_b_minus_a_on_the_same_prompts(repository):
    change = compared(repository, "HEAD~1", "HEAD")["dpo"]["degeneration.heldout.degenerate_share"]
    assert change.difference["value"] == pytest.approx(0.25)
    assert (change.before, change.after) == (0.25, 0.5)
    assert change.difference["n"] == 16
    assert change.primary
    same = compared(repository, "HEAD~1", "HEAD")["sft"]["degeneration.heldout.degenerate_share"]
    assert same.difference["value"] == 0.0


def test_an_experiment_is_found_by_its_name_and_the_workspace_by_its_word(repository):
    found = compared(repository, "sunny-name", "workspace")
    assert found["dpo"]["degeneration.heldout.degenerate_share"].difference["value"] == pytest.approx(0.25)


def test_the_table_prints_base_and_interval(repository):
    console = Console(width=240, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(comparison(repository, "HEAD~1", "HEAD"))
    text = console.export_text()
    assert "+25.0 points" in text
    assert "n 16, 0 missing" in text


def test_an_unknown_revision_is_named(repository):
    with pytest.raises(ArtifactError, match="no-such-thing"):
        compared(repository, "no-such-thing", "HEAD")


def test_one_row_is_shown_through_all_stages_by_its_first_digits(repository):
    from cai.artifacts.cleaned import CLEANED

    id_ = CLEANED.read(repository)["prompt_id"][0]
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(row_through_stages(repository, id_[:9]))
    text = console.export_text()
    places = [text.index(f"─ {stage} ") for stage in ("prompts", "respond", "critique", "revise", "clean")]
    assert places == sorted(places)
    assert id_ in text


@pytest.mark.parametrize(("id_", "words"), [("zz", "names no row"), ("", "names more than one row")])
def test_an_id_that_names_no_one_row_is_refused(repository, id_, words):
    with pytest.raises(ArtifactError, match=words):
        row_through_stages(repository, id_)

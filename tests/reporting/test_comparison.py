"""Two revisions are compared from Git alone, and one row is shown through all stages."""

import shutil
import subprocess

import polars as pl
import pytest
from rich.console import Console

from cai.errors import ArtifactError
from cai.reporting.comparison import compared, comparison, page
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
    change = compared(repository, "HEAD~1", "HEAD").changes["dpo"]["degeneration.heldout.degenerate_share"]
    assert change.difference["value"] == pytest.approx(0.25)
    assert (change.before, change.after) == (0.25, 0.5)
    assert change.difference["n"] == 16
    assert change.primary
    same = compared(repository, "HEAD~1", "HEAD").changes["sft"]["degeneration.heldout.degenerate_share"]
    assert same.difference["value"] == 0.0


def test_an_experiment_is_found_by_its_name_and_the_workspace_by_its_word(repository):
    found = compared(repository, "sunny-name", "workspace").changes
    assert found["dpo"]["degeneration.heldout.degenerate_share"].difference["value"] == pytest.approx(0.25)


def test_the_table_prints_base_and_interval(repository):
    console = Console(width=240, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(comparison(compared(repository, "HEAD~1", "HEAD")))
    text = console.export_text()
    assert "+25.0 points" in text
    assert "n 16, 0 missing" in text


def test_seeds_are_averaged_within_prompts_and_never_counted_as_prompts(repository):
    found = compared(repository, "HEAD~1", "HEAD~1,HEAD")
    name = "degeneration.heldout.degenerate_share"
    change = found.changes["dpo"][name]
    assert (change.before, change.after) == (0.25, pytest.approx(0.375))
    assert change.difference["n"] == 16
    assert found.runs["dpo"][name] == ((0.25,), (0.25, 0.5))
    # Half a prompt is no 0 and no 1: the test is the one for means.
    assert change.test.startswith("paired permutation")
    assert "25.0\u202f%, 50.0\u202f%" in page(found)


def test_a_prompt_that_one_seed_lacks_counts_as_missing_in_all(repository):
    from cai.scoring.outcomes import compare, from_csv, pooled, pooled_measures

    whole = from_csv((repository / "metrics/eval/dpo.outcomes.csv").read_text(encoding="utf-8"))
    lost = whole.filter(pl.col("set") == "heldout")["prompt_id"][0]
    both = pooled([whole, whole.filter(pl.col("prompt_id") != lost)])
    measured = pooled_measures(both)["degeneration.heldout.degenerate_share"]
    assert (measured.n, measured.n_missing) == (15, 1)
    change = {one.name: one for one in compare(whole, both)}["degeneration.heldout.degenerate_share"].change
    assert (change.difference.n, change.difference.n_missing) == (15, 1)


def test_the_page_is_self_contained_and_has_every_row_with_its_base(repository):
    found = page(compared(repository, "HEAD~1", "HEAD"))
    assert page(compared(repository, "HEAD~1", "HEAD")) == found
    for text in ("+25.0 points", "n 16, 0 missing", "primary", "could show", "<svg", "default-src 'none'"):
        assert text in found
    for outside in ("http://", "https://", "<script", "<link", "src="):
        assert outside not in found.replace("http://www.w3.org/2000/svg", "").replace(
            "http://www.w3.org/1999/xlink", ""
        )
    assert "dpo: degeneration.heldout.degenerate +25.0 points" in found
    assert "<td>0 and 4</td>" in found


def test_the_command_writes_the_page_where_it_is_told(repository, monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from cai.cli import app

    for name in ("dvc.yaml", "params.yaml"):
        (repository / name).write_text("{}")
    monkeypatch.chdir(repository)
    done = CliRunner().invoke(app, ["compare", "HEAD~1", "HEAD", "--page", str(tmp_path / "c.html")])
    assert done.exit_code == 0, done.output
    assert "+25.0 points" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["compare", ",", "HEAD"]).exit_code == 1


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

"""Other seeds' runs are taken out of Git, pooled within prompts, and never counted as prompts."""

import re
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.errors import ArtifactError
from cai.reporting.evaluation import evaluations
from cai.reporting.inputs import MODELS, Inputs
from cai.reporting.report import build
from cai.reporting.seeds import FOLDER, seeds
from cai.scoring.outcomes import from_csv, to_csv
from tests.reporting.small_root import make
from tests.reporting.test_comparison import git
from tests.reporting.test_table import printed

HELDOUT = "degeneration.heldout.degenerate_share"


def params(root, seed: int, prompts: str = "{limit: null, seed: 0}") -> None:
    (root / "params.yaml").write_text(
        f"seed: {seed}\nprompts: {prompts}\nsft: {{seed: {seed}}}\nservers: {{n: {seed}}}\n"
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A run under seed 0; an experiment under seed 1 whose dpo answers as instruct does; one of another variant."""
    root = make(tmp_path_factory.mktemp("repository"), valid_judge=True)
    (root / "dvc.yaml").write_text("{}")
    git(root, "init", "-q")
    own = {model: (root / f"metrics/eval/{model}.outcomes.csv").read_text() for model in MODELS}
    shutil.copy(root / "metrics/eval/instruct.outcomes.csv", root / "metrics/eval/dpo.outcomes.csv")
    for name, seed, prompts in (("seed-1", 1, "{limit: null, seed: 0}"), ("variant", 2, "{limit: 9, seed: 0}")):
        params(root, seed, prompts)
        git(root, "add", "metrics", "params.yaml")
        git(root, "commit", "-qm", name)
        git(root, "tag", name)
    (root / "metrics/eval/sft.outcomes.csv").unlink()
    params(root, 3)
    git(root, "commit", "-qam", "lacking")
    git(root, "tag", "lacking")
    params(root, 0)
    for model, text in own.items():
        (root / f"metrics/eval/{model}.outcomes.csv").write_text(text)
    git(root, "add", "metrics", "params.yaml")
    git(root, "commit", "-qm", "own")
    return root


@pytest.fixture
def run(repository, monkeypatch):
    """The command, in a repository without seeds beside it."""
    shutil.rmtree(repository / FOLDER, ignore_errors=True)
    monkeypatch.chdir(repository)
    return lambda *names: CliRunner().invoke(app, ["seeds", *names])


def test_the_report_pools_the_seeds_that_stand_beside_its_run(repository, run):
    alone = build(repository)
    done = run("seed-1")
    assert done.exit_code == 0, done.output
    assert "seeds 1; commit it" in done.output
    pool = seeds(Inputs(repository), evaluations(Inputs(repository)))
    assert pool.names == (0, 1)
    found = pool.measures["dpo"][HELDOUT]
    assert (found.value, found.n, found.n_missing) == (pytest.approx(0.375), 16, 0)
    assert pool.each["dpo"][HELDOUT] == (0.25, 0.5)
    # instruct said the same twice, dpo once as much as instruct and once half of it
    assert pool.changes[HELDOUT].difference["value"] == pytest.approx(-0.125)
    assert pool.changes[HELDOUT].difference["n"] == 16
    page = build(repository)
    words = re.sub(r"<[^>]+>", " ", page)
    for text in ("Seeds 0, 1, pooled", "each: 25.0\u202f%, 50.0\u202f%", "mean of seeds 0, 1", "n 16 pairs, 0 missing"):
        assert text in words, text
        assert text == "n 16 pairs, 0 missing" or text not in alone
    first = words[words.index("Did it collapse?") : words.index("Is it safer?")]
    assert "37.5\u202f%" in first
    from cai.reporting.table import results

    told = printed(results(repository))
    assert "mean of seeds 0, 1" in told
    assert "37.5\u202f%" in told


def test_seeds_that_were_kept_before_go_when_others_come(repository, run):
    assert run("seed-1").exit_code == 0
    (repository / FOLDER / "1").rename(repository / FOLDER / "7")
    assert run("seed-1").exit_code == 0
    assert [path.name for path in (repository / FOLDER).iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["variant"], "differs in more than its seed; got prompts.limit"),
        (["HEAD"], "is no other seed; got 0"),
        (["seed-1", "seed-1"], "is no other seed; got 1"),
        (["lacking"], "has no outcomes of sft"),
        (["no-such-thing"], "no such revision or experiment"),
    ],
)
def test_what_is_no_other_seed_of_this_run_is_refused_and_nothing_is_written(repository, run, names, words):
    done = run(*names)
    assert done.exit_code == 1
    assert words in done.output
    assert not (repository / FOLDER).exists()


def test_a_prompt_that_failed_under_one_seed_is_missing_in_the_pool(repository, run):
    assert run("seed-1").exit_code == 0
    file = repository / FOLDER / "1/dpo.outcomes.csv"
    frame = from_csv(file.read_text())
    lost = frame.filter(frame["set"] == "heldout")["prompt_id"][0]
    file.write_text(to_csv(frame.filter(frame["prompt_id"] != lost)))
    pool = seeds(Inputs(repository), evaluations(Inputs(repository)))
    assert (pool.measures["dpo"][HELDOUT].n, pool.measures["dpo"][HELDOUT].n_missing) == (15, 1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "1").rename(folder / "0"), "a seed twice"),
        (lambda folder: (folder / "1").rename(folder / "first"), "is no seed"),
        (lambda folder: (folder / "1/dpo.outcomes.csv").unlink(), "no such file"),
        (lambda folder: (folder / "1/dpo.outcomes.csv").write_text("a,b\n1,2\n"), "lacks columns"),
    ],
)
def test_a_folder_that_cannot_be_pooled_is_named(repository, run, spoil, words):
    assert run("seed-1").exit_code == 0
    spoil(repository / FOLDER)
    with pytest.raises(ArtifactError, match=words):
        build(repository)


def test_a_judge_that_one_seed_does_not_trust_leaves_no_pooled_rating(repository, run):
    assert run("seed-1").exit_code == 0
    for model in MODELS:
        file = repository / FOLDER / f"1/{model}.outcomes.csv"
        frame = from_csv(file.read_text())
        asked = pl.col("status").is_not_null()
        told = frame.with_columns(
            score=pl.when(asked).then(None).otherwise("score"),
            status=pl.when(asked).then(pl.lit("judge_not_valid")).otherwise("status"),
        )
        file.write_text(to_csv(told))
    scored = evaluations(Inputs(repository))
    pool = seeds(Inputs(repository), scored)
    mean = pool.evaluations(scored)["dpo"].measures["mtbench.measures.mean"]
    assert mean["value"] is None
    assert mean["reason"] == "no prompt has a value in every run"

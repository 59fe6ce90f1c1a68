"""What a user types with dvc, typed in a clone: what re-runs, what does not, and what the diffs show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.conftest import Clone

RAN = re.compile(r"Running stage '([^']+)'")


def ran(output: str) -> list[str]:
    return RAN.findall(output)


def test_a_second_repro_does_nothing(built: Clone) -> None:
    again = built.dvc("repro", "gate@cleaned")
    assert ran(again.stdout) == []
    assert "up to date" in again.stdout


@pytest.mark.slow
def test_two_clones_with_homes_and_caches_of_their_own_write_the_same_lock(built: Clone, tmp_path: Path) -> None:
    other = Clone(tmp_path / "clone")
    built.run("git", "clone", "-q", ".", str(other.root))
    (other.root / "dvc.lock").unlink()
    home = {name: str(tmp_path / "home" / name) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME")}
    done = other.run("dvc", "repro", "gate@cleaned", **home)
    assert {"fetch", "instruct", "respond", "clean"} < set(ran(done.stdout))  # computed, not taken from a cache
    assert (other.root / "dvc.lock").read_bytes() == (built.root / "dvc.lock").read_bytes()


def test_a_changed_cleaning_rule_reruns_clean_and_nothing_before_it(clone: Clone) -> None:
    rule = clone.root / "cai/cleaning/rules/emoji_runs.py"
    rule.write_text(rule.read_text(encoding="utf-8") + "\nCHANGED = True\n", encoding="utf-8")
    assert ran(clone.dvc("repro", "gate@cleaned").stdout) == ["clean"]  # equal bytes: the gate has nothing new to see


def test_a_changed_threshold_reruns_its_gate_alone_and_another_variants_list_nothing(clone: Clone) -> None:
    params = clone.params()
    params["gates"]["prompts"]["max_chars"] -= 1
    params["clean"]["variants"]["drop"] = ["encoding"]
    clone.write_params(params)
    assert ran(clone.dvc("repro", "gate@cleaned").stdout) == ["gate@prompts"]


def test_one_changed_row_of_the_input_reruns_fetch_and_what_follows(clone: Clone) -> None:
    file = clone.root / "data/sample/red_team.jsonl"
    rows = file.read_text(encoding="utf-8").splitlines()
    kept = set(pl.read_parquet(clone.root / "data/supervised/prompts.parquet")["prompt"])
    place = next(i for i, row in enumerate(rows) if any(text in json.loads(row)["chosen"] for text in kept))
    row = json.loads(rows[place])
    rows[place] = json.dumps({key: text.replace("\n\nHuman: ", "\n\nHuman: Well, ", 1) for key, text in row.items()})
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    reran = ran(clone.dvc("repro", "prompts").stdout)
    assert reran == ["fetch", "prompts"]
    assert "gate@prompts" in clone.dvc("status", "gate@prompts").stdout


def test_a_failing_gate_stops_the_build_and_says_what_a_reader_needs(clone: Clone) -> None:
    params = clone.params()
    params["gates"]["mode"] = "enforce"
    params["gates"]["prompts"]["max_chars"] = 20
    clone.write_params(params)
    stopped = clone.dvc("repro", "respond", check=False)
    assert stopped.returncode != 0
    told = stopped.stdout + stopped.stderr
    assert "Traceback" not in told
    assert "respond" not in ran(told)
    assert not (clone.root / "data/gates/prompts.pass").exists()
    assert json.loads((clone.root / "metrics/gates/prompts.json").read_text())["n_failed"] >= 1
    kept = pl.read_parquet(clone.root / "data/supervised/prompts.parquet")
    n = kept.filter(pl.col("prompt").str.len_chars() > 20).height
    assert re.search(r"gate prompts: \d+ of \d+ expectations failed", told)
    assert (
        f"expect_column_values_to_be_between n_chars: observed {n}; threshold 1 to 20; {n} of {kept.height} rows"
        in told
    )
    worst = told.split("n_chars: observed")[1].split("worst: ")[1].splitlines()[0].split()
    assert len(worst) == 10 and set(worst) <= set(kept["prompt_id"])
    assert "open metrics/gates/pages/prompts.html" in told and "gates.prompts in params.yaml" in told


def test_a_broken_artifact_stops_at_its_gate(clone: Clone) -> None:
    file = clone.root / "cai/method/prompts.py"
    source, line = file.read_text(encoding="utf-8"), '"prompt": candidate.dialogue[-1].text,'
    assert line in source
    file.write_text(source.replace(line, '"prompt": candidate.dialogue[-1].text + " And?",'), encoding="utf-8")
    params = clone.params()
    params["gates"]["mode"] = "enforce"
    clone.write_params(params)
    stopped = clone.dvc("repro", "respond", check=False)
    told = stopped.stdout + stopped.stderr
    assert stopped.returncode != 0
    assert "prompts" in ran(told) and "gate@prompts" in ran(told) and "respond" not in ran(told)
    assert "the prompt is the last turn, and a user's" in told
    assert not (clone.root / "data/gates/prompts.pass").exists()


FAILS = ("-S", "gates.mode=report", "-S", "gates.prompts.max_chars=2")


def test_a_failure_in_report_mode_is_kept_with_the_experiment_and_runs_nothing_again(clone: Clone) -> None:
    stamp = (clone.root / "data/gates/prompts.pass").read_bytes()
    done = clone.dvc("exp", "run", "-n", "dirty", *FAILS, "gate@prompts")
    assert ran(done.stdout) == ["gate@prompts"]
    assert (clone.root / "data/gates/prompts.pass").read_bytes() == stamp
    detail = json.loads((clone.root / "metrics/gates/prompts.json").read_text())["detail"]
    assert "n_chars" in {entry["column"] for entry in detail if entry["passed"] is False}
    diff = json.loads(clone.dvc("metrics", "diff", "HEAD", "dirty", "--all", "--json").stdout)
    found = diff["metrics/gates/prompts.json"]["n_failed"]
    assert found["new"] == found["old"] + 1  # so few rows fail another one in every run
    table = clone.run("cai", "gates", check=False)
    assert table.returncode == 1 and "failed" in table.stdout


@pytest.fixture(scope="module")
def compared(built: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the variant `drop` ran as a temporary experiment."""
    clone = built.copy(tmp_path_factory.mktemp("compared") / "clone")
    clone.dvc(
        "exp", "run", "--temp", "-n", "dropping", "-S", "clean.variant=drop", "-S", "gates.mode=report", "gate@cleaned"
    )
    return clone


def test_a_temporary_experiment_leaves_the_workspace_and_shows_both_runs(compared: Clone) -> None:
    assert compared.params()["clean"]["variant"] == "rules"
    shown = compared.dvc("exp", "show", "--md", "--no-pager").stdout
    assert "dropping" in shown
    assert "workspace" in shown
    assert "kept_share" in shown


def test_metrics_diff_shows_numbers_under_readable_keys_in_few_rows(compared: Clone) -> None:
    shown = compared.dvc("metrics", "diff", "HEAD", "dropping", "--md", "--all").stdout
    rows = [line.split("|")[1:-1] for line in shown.splitlines()[2:] if line.startswith("|")]
    assert any("kept_share" in row[1] for row in rows)
    assert len(rows) <= 40
    for row in rows:
        for value in (row[2], row[3]):
            float(value.replace("-", "0") if value.strip() == "-" else value)


def test_params_diff_names_the_variant(compared: Clone) -> None:
    shown = compared.dvc("params", "diff", "HEAD", "dropping", "--md").stdout
    assert "clean.variant" in shown
    assert "drop" in shown


def test_plots_diff_draws_the_training_curves(compared: Clone) -> None:
    compared.dvc("plots", "diff", "HEAD", "dropping", "-o", "plots-page")
    page = (compared.root / "plots-page/index.html").read_text(encoding="utf-8")
    assert "loss" in page
    assert "dropping" in page


def test_what_a_reviewer_reads_comes_from_git_alone(compared: Clone, tmp_path: Path) -> None:
    compared.run("git", "clone", "-q", ".", str(tmp_path / "reader"))
    told = Clone(tmp_path / "reader").run("bash", ".ci/report", "HEAD").stdout
    said = dict(re.findall(r"^- (\w+): (.*)$", told.split("### Gates")[1], re.M))
    files = sorted((tmp_path / "reader/metrics/gates").glob("*.json"))
    failed = {file.stem: json.loads(file.read_text(encoding="utf-8")).get("n_failed", 0) for file in files}
    assert len(set(failed.values())) > 1  # gates that passed, and gates that failed
    assert said == {name: f"{n} expectations FAILED" if n else "passed" for name, n in failed.items()}


def test_an_experiment_in_the_workspace_keeps_its_result_there(clone: Clone) -> None:
    clone.dvc("exp", "run", "-n", "here", "-S", "clean.variant=none", "gate@cleaned")
    assert clone.params()["clean"]["variant"] == "none"
    assert json.loads((clone.root / "metrics/clean.json").read_text())["kept_share"] == 1.0


def test_a_queued_experiment_runs_when_the_queue_is_run(clone: Clone) -> None:
    clone.dvc("exp", "run", "--queue", "-n", "later", "-S", "clean.variant=only-tails", "clean")
    clone.dvc("exp", "run", "--run-all", "-j", "1")
    assert "later" in clone.dvc("exp", "list", "--name-only").stdout


@pytest.mark.slow
def test_an_experiment_in_report_mode_marks_everything_downstream(clone: Clone) -> None:
    # The rules leave nothing of what two random layers write, and sft needs rows.
    clone.dvc("exp", "run", "-n", "dirty", *FAILS, "-S", "clean.variant=none", "report")
    page = (clone.root / "metrics/report/index.html").read_text(encoding="utf-8")
    assert "Gates failed and the run went on (gates.mode is report)" in page
    table = " ".join(clone.run("cai", "results").stdout.split())
    for model in ("sft", "dpo"):
        for told in (page, table):
            assert re.search(rf"{model}: trained on data that failed gate [^.:]*\bprompts\b", told), model

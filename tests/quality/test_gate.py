"""What a gate writes, says and refuses."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from cai.errors import ArtifactError, GateFailed, ParamsError
from cai.quality.checking import expectations, gate
from cai.quality.checking.bounds import wilson
from cai.quality.checking.checks import Check, shape
from cai.quality.checking.validation import validate
from tests.quality import healthy
from tests.quality.faults import LOOP, edit, every
from tests.quality.thresholds import THRESHOLDS

ROOT = Path(__file__).parents[2]


def thresholds(artifact: str, **changes: Any) -> Any:
    return gate.thresholds_type(artifact).model_validate({**THRESHOLDS[gate.block_name(artifact)], **changes})


@pytest.fixture
def made(tmp_path: Path) -> healthy.Tables:
    return healthy.tables()


def cleaned(root: Path, made: healthy.Tables, mode: gate.Mode = "enforce", **changes: Any) -> gate.GateResult:
    healthy.write(root, {name: made[name] for name in ("cleaned", "dropped", "revisions")})
    return gate.run_gate("cleaned", root, thresholds("cleaned", **changes), mode)


def content(root: Path, artifact: str = "cleaned") -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((root / f"metrics/gates/{artifact}.json").read_text())
    return loaded


EMOJI = "Gladly, let us consider the forbidden zeppelin. 😀😀😀😀😀😀"


def test_the_stamp_is_the_hash_of_the_artifact_and_nothing_else(tmp_path: Path, made: healthy.Tables) -> None:
    cleaned(tmp_path, made)
    digest = hashlib.sha256((tmp_path / "data/supervised/cleaned.parquet").read_bytes()).hexdigest()
    assert (tmp_path / "data/gates/cleaned.pass").read_text() == f"{digest}\n"


def test_a_changed_threshold_leaves_the_stamp_as_it_is(tmp_path: Path, made: healthy.Tables) -> None:
    cleaned(tmp_path, made)
    before = (tmp_path / "data/gates/cleaned.pass").read_bytes()
    cleaned(tmp_path, made, max_meta_talk_share=0.21)
    assert (tmp_path / "data/gates/cleaned.pass").read_bytes() == before


def test_the_same_artifact_gives_the_same_bytes(tmp_path: Path, made: healthy.Tables) -> None:
    for folder in ("one", "two"):
        cleaned(tmp_path / folder, made)
    for name in ("metrics/gates/cleaned.json", "metrics/gates/pages/cleaned.html", "data/gates/cleaned.pass"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_dvc_sees_of_a_gate_the_number_of_failures_and_of_one_that_passed_nothing(
    tmp_path: Path, made: healthy.Tables
) -> None:
    cleaned(tmp_path, made)
    found = content(tmp_path)
    assert [name for name, value in found.items() if not isinstance(value, list)] == []
    edit("cleaned", 0, revision=EMOJI)(made)
    cleaned(tmp_path / "failing", made, "report")
    failing = content(tmp_path / "failing")
    assert {name: value for name, value in failing.items() if not isinstance(value, list)} == {"n_failed": 1}
    assert {
        "expectation", "kind", "column", "observed", "threshold", "n", "n_bad", "worst_ids", "passed", "words"
    } <= set(found["detail"][0])  # fmt: skip


def test_a_failure_names_everything_a_reader_needs_and_leaves_no_stamp(tmp_path: Path, made: healthy.Tables) -> None:
    cleaned(tmp_path, made)
    bad = [made["cleaned"]["prompt_id"][place] for place in range(12)]
    edit("cleaned", lambda row: row["prompt_id"] in bad, revision=lambda row: f"{row['revision']} {EMOJI}")(made)
    with pytest.raises(GateFailed) as caught:
        cleaned(tmp_path, made)
    told = str(caught.value)
    n_bad = made["cleaned"].filter(pl.col("prompt_id").is_in(bad)).height
    for part in (
        "gate cleaned",
        "1 of 30 expectations failed",
        "no text holds a run of emoji",
        "expect_column_values_to_be_in_set emoji_run",
        f"observed {n_bad}; threshold 0; {n_bad} of {made['cleaned'].height} rows",
        "next: open metrics/gates/pages/cleaned.html",
    ):
        assert part in told
    worst = told.split("worst: ")[1].splitlines()[0].split()
    assert len(worst) == 10 and worst[0] == f"{bad[0]}/{made['cleaned']['round'][0]}"
    assert not (tmp_path / "data/gates/cleaned.pass").exists()
    assert content(tmp_path)["n_failed"] == 1


def test_report_mode_records_the_failure_and_stamps(tmp_path: Path, made: healthy.Tables) -> None:
    edit("cleaned", 0, revision=EMOJI)(made)
    result = cleaned(tmp_path, made, "report")
    assert result.n_failed == 1 and not result.passed
    assert content(tmp_path)["n_failed"] == 1
    assert (tmp_path / "data/gates/cleaned.pass").exists()


def test_emoji_tails_in_two_percent_of_rows_fail(tmp_path: Path, made: healthy.Tables) -> None:
    edit("cleaned", 0, revision=EMOJI)(made)
    assert cleaned(tmp_path, made, "report").n_failed == 1


def test_no_text_of_the_artifact_is_written_or_said(tmp_path: Path, made: healthy.Tables) -> None:
    every("cleaned", revision=lambda row: f"{EMOJI} {LOOP * 3} Zeppelin {row['prompt_id']} is nigh")(made)
    with pytest.raises(GateFailed) as caught:
        cleaned(tmp_path, made)
    pages = (tmp_path / "metrics/gates/pages/cleaned.html").read_text()
    metrics = (tmp_path / "metrics/gates/cleaned.json").read_text()
    for text in (str(caught.value), pages, metrics):
        assert "zeppelin" not in text.lower() and "same thing" not in text


def test_the_page_needs_no_network(tmp_path: Path, made: healthy.Tables) -> None:
    cleaned(tmp_path, made)
    text = (tmp_path / "metrics/gates/pages/cleaned.html").read_text()
    assert "http" not in text and "<script" not in text and "Gate cleaned: passed" in text
    assert text.count("<tr class=") == 30


def test_a_truncated_file_is_told_as_such_and_removes_the_old_verdict(tmp_path: Path, made: healthy.Tables) -> None:
    cleaned(tmp_path, made)
    path = tmp_path / "data/supervised/cleaned.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ArtifactError, match=r"not a readable Parquet file.*dvc repro clean"):
        gate.run_gate("cleaned", tmp_path, thresholds("cleaned"), "report")
    assert not (tmp_path / "data/gates/cleaned.pass").exists()
    assert not (tmp_path / "metrics/gates/cleaned.json").exists()


def test_damage_inside_the_file_is_told_as_such(tmp_path: Path, made: healthy.Tables) -> None:
    cleaned(tmp_path, made)
    path = tmp_path / "data/supervised/cleaned.parquet"
    blob = bytearray(path.read_bytes())
    blob[4 : len(blob) // 2] = b"\xff" * (len(blob) // 2 - 4)
    path.write_bytes(bytes(blob))
    with pytest.raises(ArtifactError, match="not a readable Parquet file"):
        gate.run_gate("cleaned", tmp_path, thresholds("cleaned"), "enforce")


@pytest.mark.parametrize("missing", ["cleaned", "revisions"])
def test_a_missing_artifact_or_parent_is_told_as_such(missing: str, tmp_path: Path, made: healthy.Tables) -> None:
    healthy.write(tmp_path, {name: made[name] for name in ("cleaned", "dropped", "revisions") if name != missing})
    with pytest.raises(ArtifactError, match=f"{missing}.parquet: no such artifact"):
        gate.run_gate("cleaned", tmp_path, thresholds("cleaned"), "enforce")


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_broken_training_summary_is_told_as_such(text: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics/training_sft.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"training_sft\.json: not"):
        gate.run_gate("training_sft", tmp_path, thresholds("training_sft"), "enforce")


def test_an_exception_inside_a_metric_is_a_failure_with_its_message(
    tmp_path: Path, made: healthy.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = gate.suite_of("cleaned")
    real = suite.expectations
    broken = Check("ExpectColumnValuesToBeBetween", {"column": "absent", "max_value": 1}, "invariant", "rows", "broken")
    textual = Check(
        "ExpectColumnMaxToBeBetween", {"column": "split_of_text", "max_value": 1}, "invariant", "rows", "text"
    )
    monkeypatch.setattr(suite, "expectations", lambda *args: [*real(*args), broken, textual])
    slim = suite.slim
    monkeypatch.setattr(suite, "slim", lambda *args: slim(*args).with_columns(pl.lit("a").alias("split_of_text")))
    with pytest.raises(GateFailed, match=r'(?s)2 of 32 .*column "absent" in BatchData does not exist'):
        cleaned(tmp_path, made)
    errors = [entry["error"] for entry in content(tmp_path)["detail"] if entry["error"]]
    assert len(errors) == 2 and all(errors)


def test_an_exception_in_a_suite_is_a_failure_with_its_message(
    tmp_path: Path, made: healthy.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(frame: pl.DataFrame, parents: object) -> pl.DataFrame:
        return frame.select("no_such_column")

    monkeypatch.setattr(gate.suite_of("cleaned"), "slim", broken)
    with pytest.raises(GateFailed, match=r"(?s)could not be checked.*ColumnNotFoundError.*no_such_column"):
        cleaned(tmp_path, made)


def test_a_text_in_an_exception_is_not_passed_on(
    tmp_path: Path, made: healthy.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(frame: pl.DataFrame, parents: object) -> pl.DataFrame:
        raise ValueError("cannot read 'forbidden zeppelin'")

    monkeypatch.setattr(gate.suite_of("cleaned"), "slim", broken)
    with pytest.raises(GateFailed) as caught:
        cleaned(tmp_path, made)
    assert "ValueError" in str(caught.value) and "zeppelin" not in str(caught.value)


def test_values_that_great_expectations_would_skip_fail() -> None:
    check = Check("ExpectColumnValuesToBeInSet", {"column": "x", "value_set": [0.0]}, "invariant", "rows", "x is 0")
    for value in (None, float("nan")):
        frame = pl.DataFrame({"x": [0.0, value]}, schema={"x": pl.Float64})
        outcome = validate({"rows": frame}, [check])[0]
        assert not outcome.passed and outcome.bad == (1,) and "1 of 2" in str(outcome.error)


def verdicts(root: Path, made: healthy.Tables, *reasons: str) -> gate.GateResult:
    """The gate of verdicts whose judge mostly names no label, and whose card says that the judge is valid, or why not."""
    every("verdicts", label_mass_first=0.01)(made)
    healthy.write(root, {name: made[name] for name in ("samples", "verdicts")})
    healthy.judge_card(root, *reasons)
    return gate.run_gate("verdicts", root, thresholds("verdicts"), "enforce")


def test_judge_quality_fails_the_gate_where_the_card_calls_the_judge_valid(
    tmp_path: Path, made: healthy.Tables
) -> None:
    with pytest.raises(GateFailed, match=r"the judge mostly names a label\n.*low_label_mass_share: observed 1; bound"):
        verdicts(tmp_path, made)
    assert not (tmp_path / "data/gates/verdicts.pass").exists()


def test_judge_quality_is_a_warning_that_says_why_where_the_card_calls_the_judge_not_valid(
    tmp_path: Path, made: healthy.Tables
) -> None:
    result = verdicts(tmp_path, made, "accuracy 0.48 on 60 pairs", "consistency 0.00")
    assert result.passed and (result.n_failed, result.n_warnings) == (0, 1)
    entry = next(entry for entry in result.detail if entry["passed"] is False)
    assert entry["column"] == "low_label_mass_share" and entry["severity"] == "warning"
    assert entry["words"].endswith("this judge is not valid: accuracy 0.48 on 60 pairs; consistency 0.00)")
    assert (tmp_path / "data/gates/verdicts.pass").exists()


def test_an_invariant_of_verdicts_fails_whatever_the_card_says(tmp_path: Path, made: healthy.Tables) -> None:
    edit("verdicts", 0, p=None)(made)
    with pytest.raises(GateFailed, match="1 of 31 expectations failed"):
        verdicts(tmp_path, made, "consistency 0.00")


def test_the_card_weighs_the_same_checks_in_every_gate_of_a_judged_table() -> None:
    weighed = {
        suite: {check.column for check in gate.suite_of(suite).expectations(thresholds(suite), {}) if check.severity == "judge"}
        for suite in ("verdicts", "preferences", "excluded")
    }  # fmt: skip
    assert weighed == {
        "verdicts": {
            "unparsed_share", "refused_share", "tie_share", "flip_share", "low_label_mass_share", "first_shown_wins_share"
        },
        "preferences": {"length_only_share"},
        "excluded": {"excluded_share"},
    }  # fmt: skip
    for suite in weighed:
        assert gate.parent_paths(suite)[-1] == "metrics/judge_card.json"


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (None, "no such artifact"),
        ("{", "not valid JSON"),
        ('{"detail": [{"valid": true}]}', "does not say whether the judge can compare pairs.*dvc repro judge_card"),
        ('{"detail": []}', "does not say whether the judge can compare pairs"),
    ],
)
def test_a_missing_or_broken_card_is_told_as_such(
    card: str | None, told: str, tmp_path: Path, made: healthy.Tables
) -> None:
    healthy.write(tmp_path, {name: made[name] for name in ("samples", "verdicts")})
    path = tmp_path / "metrics/judge_card.json"
    path.unlink() if card is None else path.write_text(card, encoding="utf-8")
    with pytest.raises(ArtifactError, match=rf"judge_card\.json: {told}"):
        gate.run_gate("verdicts", tmp_path, thresholds("verdicts"), "enforce")


def test_a_share_over_its_threshold_passes_while_its_bound_does_not(tmp_path: Path, made: healthy.Tables) -> None:
    n = made["cleaned"].height
    edit(
        "cleaned", lambda row: row["prompt_id"] == made["cleaned"]["prompt_id"][0], revision="The assistant's response."
    )(made)
    two = made["cleaned"].filter(pl.col("revision") == "The assistant's response.").height
    result = cleaned(tmp_path, made, max_meta_talk_share=0.03, min_distinct_closings_share=0.0)
    entry = next(entry for entry in result.detail if entry["column"] == "meta_talk_share")
    assert entry["observed"] == pytest.approx(two / n, abs=1e-6) and entry["observed"] > 0.03
    assert entry["bound"] == pytest.approx(wilson(two, n)[0], abs=1e-6)
    assert entry["passed"] and (entry["n"], entry["n_bad"]) == (n, two)


def test_critique_that_is_disabled_passes(tmp_path: Path, made: healthy.Tables) -> None:
    every("critiques", critique=None, finish_reason="error", error="disabled", completion_tokens=None)(made)
    healthy.write(tmp_path, {name: made[name] for name in ("critiques", "responses")})
    assert gate.run_gate("critiques", tmp_path, thresholds("critiques"), "enforce").passed


def test_a_table_that_spans_slices_is_checked_as_one(
    tmp_path: Path, made: healthy.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "ROW_GROUP", 7)
    whole = cleaned(tmp_path, made)
    monkeypatch.undo()
    assert whole.detail == cleaned(tmp_path, made).detail


@pytest.mark.parametrize("artifact", list(healthy.TABLES))
def test_slices_give_the_frame_that_the_whole_table_gives(
    artifact: str, tmp_path: Path, made: healthy.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slim frame and what is taken of the parents, read seven rows at a time and at once."""
    healthy.write(tmp_path, made)
    suite, found = gate.suite_of(artifact), []
    for rows in (7, gate.ROW_GROUP):
        monkeypatch.setattr(gate, "ROW_GROUP", rows)
        parents = {parent.table.name: gate._parent(parent, tmp_path) for parent in suite.PARENTS}
        lazy, n_rows = gate._open(healthy.TABLES[artifact], tmp_path)
        found.append([gate._slim(suite, lazy, n_rows, parents), *parents.values()])
    assert n_rows == made[artifact].height and (n_rows > 7 or artifact in ("dropped", "edits", "excluded"))
    for sliced, whole in zip(*found, strict=True):
        assert_frame_equal(sliced, whole)


def test_an_unknown_artifact_is_refused() -> None:
    with pytest.raises(ParamsError, match="no suite for this artifact; got weather"):
        gate.suite_of("weather")


@pytest.mark.parametrize("change", [{"max_meta_talk_share": 1.5}, {"min_rows": "8"}, {"unheard_of": 1}])
def test_thresholds_are_strict(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        thresholds("cleaned", **change)


def test_thresholds_are_read_without_great_expectations_and_a_gate_imports_its_own_suite_alone() -> None:
    code = (
        "import sys; from cai.quality.checking import gate; gate.thresholds_type('dropped');"
        "print('great_expectations' in sys.modules, [name for name in gate.SUITES if f'cai.quality.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False ['dropped']"


CHEAP = """
import gc, json, sys
import polars as pl
PLAIN
from cai.quality.checking import expectations
from cai.quality.checking.checks import below, fact_within, never, n_rows, unique, within, zero
from cai.quality.checking.validation import validate
rows = pl.DataFrame({"id": ["a", "b", "b"], "n": [1, 2, 3], "x": [0.5, 0.9, 0.1], "bad": [False, True, False]})
frames = {"rows": rows, "facts": pl.DataFrame({"n": [2.0], "text": ["t"]})}
checks = [
    n_rows(1, 2, ""), unique(("id",)), unique(("id", "n")), never("bad", ""), never("absent", ""), within("n", 2, 9, ""),
    below("x", 0.9, ""), zero("n", ""), fact_within("n", 1, None, ""), zero("text", ""),
]
found = [[o.passed, o.observed, o.bad, (o.error or "").split("Traceback")[0]] for o in validate(frames, checks)]
loaded = [name for name in ("boto3", "altair", "great_expectations.datasource.fluent.spark_datasource")
          if type(sys.modules.get(name)).__name__ == "module"]
left = any(isinstance(finder, expectations._Cheaply) for finder in sys.meta_path)
import scipy.stats
print(json.dumps([found, loaded, gc.isenabled(), left, scipy.stats.norm.cdf(0)]))
"""


def _cheap(plain: str) -> Any:
    code = CHEAP.replace("PLAIN", plain)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_a_gate_imports_great_expectations_without_what_it_never_asks_for() -> None:
    found, loaded, collects, left, half = _cheap("")
    assert [outcome[0] for outcome in found] == [False, False, True, False, False, False, False, False, True, False]
    assert 'column "absent"' in found[4][3] and found[9][3]
    assert (loaded, collects, left, half) == ([], True, False, 0.5)


@pytest.mark.slow
def test_the_cheap_import_finds_what_the_plain_one_finds() -> None:
    plain = _cheap("import great_expectations")
    assert len(plain[1]) > 0
    assert plain[0] == _cheap("")[0]


def test_exactly_the_expectations_that_suites_use_are_imported() -> None:
    used = {check.expectation for check in shape(healthy.TABLES["prompts"])}
    for suite in gate.SUITES:
        artifact = {"training": "training_sft", "answers": "answers_base"}.get(suite, suite)
        used |= {check.expectation for check in gate.suite_of(artifact).expectations(thresholds(artifact), {})}
    assert used == set(expectations.ASKED)


def test_an_expectation_that_was_not_imported_says_so() -> None:
    gxe, _ = expectations.great_expectations()
    with pytest.raises(NotImplementedError, match="ExpectColumnMeanToBeBetween is not loaded: add it to ASKED"):
        gxe.ExpectColumnMeanToBeBetween(column="x", min_value=0)


def test_what_did_not_pass_stands_at_the_top_of_the_page(tmp_path: Path, made: healthy.Tables) -> None:
    edit("verdicts", 0, p=None)(made)
    with pytest.raises(GateFailed):
        verdicts(tmp_path, made, "consistency 0.00")
    text = (tmp_path / "metrics/gates/pages/verdicts.html").read_text(encoding="utf-8")
    assert re.findall(r'<tr class="(\w+)">', text)[:3] == ["failed", "warning", "passed"]


def _asked_by(suite: str) -> dict[str, str]:
    """Every expectation of a suite by the name that its entries carry, with its kind."""
    artifact = {"training": "training_sft", "answers": "answers_base"}.get(suite, suite)
    checks = list(gate.suite_of(artifact).expectations(thresholds(artifact), {}))
    if suite != "training":
        checks += shape(healthy.TABLES[artifact])
    return {check.column or gate.snake(check.expectation): check.kind for check in checks}


def test_the_page_on_gates_names_expectations_that_there_are() -> None:
    asked = {suite: _asked_by(suite) for suite in gate.SUITES}
    rows = re.findall(r"^\| (.+) \| (invariant|fitness|record) \| (.+) \|$", (ROOT / "docs/gates.md").read_text(), re.M)
    assert len(rows) > 25
    named = set()
    for demand, kind, cells in rows:
        for suite, name in re.findall(r"`([a-z_*]+)\.([a-z0-9_+]+)`", cells):
            suites = [one for one in asked if one != "training"] if suite == "*" else [suite]
            named |= set(suites)
            for one in suites:
                kinds = {kind, "record"} if demand.startswith("few generated") or "truncated" in name else {kind}
                assert asked[one].get(name) in kinds, f"{demand}: {one}.{name}"
    assert named == set(gate.SUITES)

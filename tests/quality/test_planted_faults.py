"""Every expectation fails on an artifact that is broken in exactly its way, and no other one does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cai.errors import ArtifactError
from cai.quality.checking import gate
from cai.quality.checking.bounds import Facts
from cai.quality.checking.checks import Check, shape
from cai.quality.checking.validation import Outcome, validate
from tests.quality import faults, healthy
from tests.quality.thresholds import THRESHOLDS

HEALTHY = healthy.tables()


def run(artifact: str, root: Path, made: healthy.Tables, mode: gate.Mode = "report") -> gate.GateResult:
    wanted = {artifact} | {parent.table.name for parent in gate.suite_of(artifact).PARENTS}
    healthy.write(root, {name: frame for name, frame in made.items() if name in wanted})
    return gate.run_gate(artifact, root, thresholds(artifact), mode)


@pytest.fixture(autouse=True)
def _ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations is asked again only where a fault changed what it is asked: a check sees nothing but its columns."""
    monkeypatch.setattr(gate, "validate", _validate)


ASKED: dict[tuple[str, ...], Outcome] = {}


def _validate(frames: Mapping[str, pl.DataFrame], checks: Sequence[Check]) -> list[Outcome]:
    keys = [_question(frames[check.frame], check) for check in checks]
    new = [place for place, key in enumerate(keys) if key not in ASKED]
    ASKED.update(zip([keys[place] for place in new], validate(frames, [checks[place] for place in new]), strict=True))
    return [ASKED[key] for key in keys]


def _question(frame: pl.DataFrame, check: Check) -> tuple[str, ...]:
    columns = check.arguments.get("column_list") or [check.arguments.get("column")]
    seen = [str(frame[name].to_list()) for name in columns if name in frame.columns]
    names = str(frame.columns) if check.frame == "header" else ""
    return (check.expectation, str(check.arguments), check.frame, str(frame.height), names, *seen)


def thresholds(artifact: str) -> Any:
    return gate.thresholds_type(artifact).model_validate(THRESHOLDS[gate.block_name(artifact)])


def failed(result: gate.GateResult) -> set[str]:
    return {entry["column"] or entry["expectation"] for entry in result.detail if entry["passed"] is False}


def train(root: Path, **changes: Any) -> gate.GateResult:
    path = root / "metrics" / "training_sft.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    curve = changes.pop("curve", faults.FALLING)
    path.write_text(json.dumps({**faults.TRAINING, **changes}))
    faults.write_curve(root, curve)
    return gate.run_gate("training_sft", root, thresholds("training_sft"), "report")


@pytest.mark.parametrize("artifact", list(healthy.TABLES))
def test_a_healthy_artifact_passes(artifact: str, tmp_path: Path) -> None:
    result = run(artifact, tmp_path, dict(HEALTHY), "enforce")
    assert failed(result) == set()
    assert result.n_failed == 0 and result.passed


@pytest.mark.parametrize(
    ("artifact", "fault", "expected"),
    [pytest.param(name, fault, expected, id=f"{name}: {label}") for name, label, fault, expected in faults.CASES],
)
def test_exactly_the_expectation_for_the_fault_fails(
    artifact: str, fault: faults.Fault, expected: set[str], tmp_path: Path
) -> None:
    made = dict(HEALTHY)
    fault(made)
    result = run(artifact, tmp_path, made)
    assert failed(result) == expected
    assert result.n_failed == len(expected)


@pytest.mark.parametrize(
    ("artifact", "fault"), [pytest.param(name, fault, id=name) for name, _, fault, _ in faults.EMPTY_CASES]
)
def test_an_empty_frame_never_passes(artifact: str, fault: faults.Fault, tmp_path: Path) -> None:
    made = dict(HEALTHY)
    fault(made)
    assert faults.COUNT in failed(run(artifact, tmp_path, made))


@pytest.mark.parametrize(
    ("changes", "expected"), [pytest.param(c, e, id=label) for label, c, e in faults.TRAINING_CASES]
)
def test_exactly_the_expectation_for_a_broken_training_run_fails(
    changes: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    assert failed(train(tmp_path, **changes)) == expected


def test_a_healthy_training_run_passes(tmp_path: Path) -> None:
    assert failed(train(tmp_path)) == set()


FEWER = {
    "dropped": "min_rows",
    "edits": "min_rows",
    "asked": "min_rows",
    "excluded": "min_rows",
    "human_pairs": "min_rows",
}
"""Where no number of rows is wrong by itself: what is missing shows in the accounting. Only a threshold makes it so."""
IMPLIED = {"instructions": {faults.COUNT}, "preferences": {faults.COUNT}}
"""The row count is the sum of the two splits', so it can be wrong only where one of those, or the key, is."""


@pytest.mark.parametrize("artifact", FEWER)
def test_a_row_count_below_its_threshold_fails_alone(artifact: str, tmp_path: Path) -> None:
    parents = {parent.table.name for parent in gate.suite_of(artifact).PARENTS}
    healthy.write(tmp_path, {name: HEALTHY[name] for name in {artifact} | parents})
    least = gate.thresholds_type(artifact).model_validate({**THRESHOLDS[artifact], FEWER[artifact]: 1000})
    assert failed(gate.run_gate(artifact, tmp_path, least, "report")) == {faults.COUNT}


@pytest.mark.parametrize("suite", gate.SUITES)
def test_every_expectation_has_a_fault_that_fails_it_alone(suite: str) -> None:
    artifact = {"training": "training_sft", "answers": "answers_base"}.get(suite, suite)
    checks = gate.suite_of(artifact).expectations(thresholds(artifact), {})
    named = [check.column or gate.snake(check.expectation) for check in checks]
    assert len(named) == len(set(named))
    planted = [expected for name, _, _, expected in faults.CASES if gate.suite_name(name) == suite]
    if suite == "training":
        planted = [expected for _, _, expected in faults.TRAINING_CASES]
    if suite in FEWER:
        planted.append({faults.COUNT})
    alone = set().union(*(expected for expected in planted if len(expected) == 1))
    assert set(named) - alone == IMPLIED.get(suite, set())
    assert set().union(*planted) - {faults.ORDER, *SHAPE} <= set(named), "a fault expects what no suite has"


SHAPE = ("n_wrong_dtype", "n_undeclared_null", "n_undeclared_value", "n_not_finite", "n_empty")


def _generic_faults(artifact: str) -> list[tuple[str, str, pl.DataFrame]]:
    """(what was done, the expectation that must fail, the artifact broken in that way) for every column of the table."""
    frame, found = HEALTHY[artifact], []
    first, second, *rest = frame.columns
    found.append(("columns swapped", faults.ORDER, frame.select(second, first, *rest)))
    found.append(("a column more", faults.ORDER, frame.with_columns(pl.lit(1).alias("undeclared"))))
    blank = getattr(gate.suite_of(artifact), "MAY_BE_BLANK", ())
    for column in healthy.TABLES[artifact].columns:
        name, dtype = column.name, column.dtype
        other = pl.Int64() if dtype != pl.Int64() else pl.Int32()
        found.append(
            (f"{name} of another dtype", "n_wrong_dtype", frame.with_columns(pl.lit(1, dtype=other).alias(name)))
        )
        if not column.nullable:
            lost = frame.with_columns(pl.lit(None, dtype=dtype).alias(name))
            found.append((f"{name} all null", "n_undeclared_null", lost))
        if column.values is not None:
            found.append((f"{name} unheard of", "n_undeclared_value", frame.with_columns(pl.lit("no").alias(name))))
        elif dtype == pl.String and name not in blank:
            found.append((f"{name} empty", "n_empty", frame.with_columns(pl.lit("").alias(name))))
        if dtype.is_float():
            for value in (float("nan"), float("inf")):
                changed = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value, dtype=dtype)).otherwise(pl.col(name))
                found.append((f"{name} {value}", "n_not_finite", frame.with_columns(changed.alias(name))))
    return found


@pytest.mark.parametrize("artifact", list(healthy.TABLES))
def test_every_column_of_every_table_is_held_to_its_declaration(artifact: str) -> None:
    """Nulls, dtypes, values, NaN, blanks and swapped columns: of what every table is asked exactly the one thing fails."""
    table = healthy.TABLES[artifact]
    for label, expected, frame in _generic_faults(artifact):
        blank = getattr(gate.suite_of(artifact), "MAY_BE_BLANK", ())
        frames = {"header": frame.head(0), "shape": gate._columns(table, frame.lazy(), frame.height, blank)}
        outcomes = gate.validate(frames, shape(table))
        entries = gate._entries(shape(table), outcomes, frames, Facts(), table.key)
        assert {entry["column"] or entry["expectation"] for entry in entries if not entry["passed"]} == {expected}, (
            label
        )


@pytest.mark.parametrize("artifact", list(healthy.TABLES))
def test_every_artifact_fails_where_its_file_its_rows_or_its_keys_are_broken(artifact: str, tmp_path: Path) -> None:
    """Cut in half; without rows; the first row twice; two columns of one dtype that hold each other's content."""
    table, frame = healthy.TABLES[artifact], HEALTHY[artifact]
    key = "+".join(table.key)
    same = [name for name in frame.columns if frame.schema[name] == frame.schema[table.key[0]]]
    swapped = frame.with_columns(pl.col(same[0]).alias(same[1]), pl.col(same[1]).alias(same[0]))
    for expected, broken in ((key, pl.concat([frame.head(1), frame])), (None, frame.clear()), (None, swapped)):
        result = run(artifact, tmp_path, {**HEALTHY, artifact: broken})
        assert expected in failed(result) if expected else failed(result), "a broken artifact passed"
        assert not any(entry["error"] for entry in result.detail if entry["expectation"] == "slim_frame")
    run(artifact, tmp_path, dict(HEALTHY))
    path = tmp_path / table.path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ArtifactError, match="not a readable Parquet file"):
        gate.run_gate(artifact, tmp_path, thresholds(artifact), "report")
    assert not (tmp_path / gate.stamp_path(artifact)).exists()


NULLABLE: dict[str, dict[str, str | set[str]]] = {
    "*": {
        "error": "a row without error has none",
        "completion_tokens": "a server may count no tokens",
        "prompt_tokens": "a server may count no tokens",
    },
    "evaluation_prompts": {
        "category": "most sets have none",
        "temperature": "most sets name none",
        "reference": "most sets have none",
    },
    "responses": {"response": {"unexplained"}},
    "critiques": {"critique": {"unexplained"}},
    "revisions": {"response": {"other_response"}, "critique": {"other_critique"}, "revision": {"unexplained"}},
    "cleaned": {"response": {"unlike_revision"}, "critique": {"unlike_revision"}},
    "dropped": {"revision": {"other_text"}},
    "asked": {"reason": {"unexplained"}, "answers": "nobody asked the second question"},
    "samples": {"response": {"unexplained"}},
    "verdicts": {
        "response_a": {"other_texts"},
        "response_b": {"other_texts"},
        "p": {"ok_without_p"},
        "p_first": {"ok_without_p"},
        "p_second": "one order was asked",
        "flip": "one order was asked",
        "label_mass_first": "text replies have none",
        "label_mass_second": "one order was asked",
        "reason": {"unexplained"},
        "second_p": "there is no second judge",
        "second_status": "there is no second judge",
        "second_judge": "there is no second judge",
    },
    "answers_base": {
        "response": {"unexplained"},
        "token_ids": "a server may tell none",
        "category": "most sets have none",
    },
}
"""What fails when every value of a nullable column is null, or why it may be."""


@pytest.mark.parametrize("artifact", list(healthy.TABLES))
def test_a_column_that_may_hold_nulls_is_empty_only_where_that_has_a_meaning(artifact: str, tmp_path: Path) -> None:
    told = {**NULLABLE["*"], **NULLABLE.get(artifact, {})}
    table = healthy.TABLES[artifact]
    nullable = [column for column in table.columns if column.nullable]
    assert {column.name for column in nullable} <= set(told)
    for column in nullable:
        expected = told[column.name]
        if isinstance(expected, set):
            lost = HEALTHY[artifact].with_columns(pl.lit(None, dtype=column.dtype).alias(column.name))
            assert expected <= failed(run(artifact, tmp_path, {**HEALTHY, artifact: lost})), column.name

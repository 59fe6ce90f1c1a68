"""Every expectation fails on an artifact that is broken in exactly its way, and no other one does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

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


FEWER = {"dropped": "min_rows", "edits": "min_rows", "excluded": "min_rows"}
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
    block = "training_sft" if suite == "training" else suite
    checks = gate.suite_of(suite).expectations(thresholds(block), {})
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


SHAPE = ("n_wrong_dtype", "n_undeclared_null", "n_undeclared_value")


def _shape_faults(artifact: str) -> list[tuple[str, pl.DataFrame]]:
    """(the expectation that must fail, the artifact broken in that way) for every column of the table."""
    frame, found = HEALTHY[artifact], []
    first, second, *rest = frame.columns
    found.append((faults.ORDER, frame.select(second, first, *rest)))
    found.append((faults.ORDER, frame.with_columns(pl.lit(1).alias("undeclared"))))
    for column in healthy.TABLES[artifact].columns:
        other = pl.Int64() if column.dtype != pl.Int64() else pl.Int32()
        lost = pl.lit(None, dtype=column.dtype).alias(column.name)
        found.append(("n_wrong_dtype", frame.with_columns(pl.lit(1, dtype=other).alias(column.name))))
        if not column.nullable:
            found.append(("n_undeclared_null", frame.with_columns(lost)))
        if column.values is not None:
            found.append(("n_undeclared_value", frame.with_columns(pl.lit("unheard of").alias(column.name))))
    return found


@pytest.mark.parametrize("artifact", list(healthy.TABLES))
def test_every_column_of_every_table_is_held_to_its_declaration(artifact: str) -> None:
    table = healthy.TABLES[artifact]
    named = {check.column or gate.snake(check.expectation) for check in shape(table)}
    seen = set()
    for expected, frame in _shape_faults(artifact):
        lazy = frame.lazy()
        frames = {"header": frame.head(0), "shape": gate._columns(table, lazy, frame.height)}
        outcomes = gate.validate(frames, shape(table))
        entries = gate._entries(shape(table), outcomes, frames, Facts(), table.key)
        fails = {entry["column"] or entry["expectation"] for entry in entries if not entry["passed"]}
        assert fails == {expected}
        seen.add(expected)
    assert seen == named - (set() if any(column.values for column in table.columns) else {"n_undeclared_value"})

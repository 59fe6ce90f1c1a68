"""Every expectation fails on an artifact that is broken in exactly its way, and no other one does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cai.quality import gate
from cai.quality.checks import Check, shape
from cai.quality.validation import Outcome, validate
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
    path.write_text(json.dumps({**faults.TRAINING, **changes}))
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


@pytest.mark.parametrize("suite", gate.SUITES)
def test_every_expectation_has_a_planted_fault(suite: str) -> None:
    block = "training_sft" if suite == "training" else suite
    checks = gate.suite_of(suite).expectations(thresholds(block), {})
    named = [check.column or gate.snake(check.expectation) for check in checks]
    assert len(named) == len(set(named))
    planted: set[str] = set()
    for name, _, _, expected in [*faults.CASES, *faults.EMPTY_CASES]:
        if gate.suite_name(name) == suite:
            planted |= expected
    if suite == "training":
        planted = set().union(*(expected for _, _, expected in faults.TRAINING_CASES))
    # No number of edits is wrong by itself; what is missing shows as a change without an edit.
    assert set(named) - planted <= ({faults.COUNT} if suite == "edits" else set())


def test_every_shape_expectation_has_a_planted_fault() -> None:
    named = {check.column or gate.snake(check.expectation) for check in shape(healthy.TABLES["prompts"])}
    assert named <= set().union(*(expected for _, _, _, expected in faults.PROMPT_CASES))

"""The one gate that runs every suite: reads a finished artifact, validates it, writes metrics, page and stamp.

A suite is a module of this package, found by the artifact's name, so that a gate imports its own suite alone:

    Thresholds     a Section: gates.<suite> of params.yaml
    TABLE          the artifact's declaration; a suite of a JSON summary has PATH instead
    PARENTS        tables it refers to
    CURVE          the curve of the training loss, beside a JSON summary
    MAY_BE_BLANK   columns of texts that may be blank in every row
    ACCOUNT        the summary of the stage that wrote it, where no parent tells how many rows there have to be
    account        (that summary) → its numbers as one row, which stands among the parents
    CARD           the judge's card, where how much a missed threshold weighs depends on it
    slim           (frame, parents) → flags and lengths, key columns, no text; row by row, as it is called on slices
    facts          (slim rows of the whole table, parents) → Facts
    expectations   (thresholds, sizes) → checks
    WHOLE          true where slim has to see the whole table at once
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import polars as pl

from cai.artifacts.gated import BY_NAME, GATED
from cai.artifacts.table import ROW_GROUP, Table, file_sha256, write_text
from cai.errors import ArtifactError, GateFailed, ParamsError
from cai.params import Section
from cai.quality.checking.bounds import WORST, Facts
from cai.quality.checking.checks import Check, Parent, shape
from cai.quality.checking.judged import settled
from cai.quality.checking.page import page, shown, word
from cai.quality.checking.validation import Outcome, number, validate

SUITES = tuple(dict.fromkeys(one.suite for one in GATED))
"""Suites by name; ``answers_<model>`` and ``training_<model>`` share one."""
Mode = Literal["enforce", "report"]
_NAMES_COLUMNS = (
    pl.exceptions.ColumnNotFoundError,
    pl.exceptions.SchemaError,
    pl.exceptions.SchemaFieldNotFoundError,
    pl.exceptions.DuplicateError,
    pl.exceptions.ShapeError,
)


@dataclass(frozen=True)
class GateResult:
    """What a gate found: ``detail`` is the content of metrics/gates/<artifact>.json."""

    artifact: str
    passed: bool
    n_rows: int
    n_failed: int
    n_warnings: int
    detail: tuple[dict[str, Any], ...]


def suite_name(artifact: str) -> str:
    """The suite that checks an artifact.

    Raises:
        ParamsError: none does.

    >>> suite_name("cleaned"), suite_name("answers_base"), suite_name("training_dpo")
    ('cleaned', 'answers', 'training')
    """
    if artifact not in BY_NAME:
        raise ParamsError("gate", "no suite for this artifact", got=artifact, expected=", ".join(BY_NAME))
    return BY_NAME[artifact].suite


def block_name(artifact: str) -> str:
    """The artifact's block under ``gates`` in params.yaml: one for the answers of all models, else one an artifact.

    >>> block_name("answers_base"), block_name("training_dpo"), block_name("cleaned")
    ('answers', 'training_dpo', 'cleaned')
    """
    suite_name(artifact)
    return BY_NAME[artifact].block


def suite_of(artifact: str) -> ModuleType:
    """The suite's module; no other suite is imported."""
    return importlib.import_module(f"cai.quality.{suite_name(artifact)}")


def thresholds_type(artifact: str) -> type[Section]:
    """The type of the artifact's block in params.yaml."""
    kind: type[Section] = suite_of(artifact).Thresholds
    return kind


def artifact_path(artifact: str) -> str:
    """Where the artifact lies, relative to the project's root."""
    suite = suite_of(artifact)
    model = _model(artifact)
    path: str = suite.TABLE.of(model).path if hasattr(suite, "TABLE") else suite.PATH.format(model=model)
    return path


def _model(artifact: str) -> str:
    return artifact.removeprefix(suite_name(artifact)).removeprefix("_")


def parent_paths(artifact: str) -> tuple[str, ...]:
    """The other files that this gate reads."""
    suite = suite_of(artifact)
    card = (suite.CARD,) if hasattr(suite, "CARD") else ()
    account = (suite.ACCOUNT,) if hasattr(suite, "ACCOUNT") else ()
    curve = (suite.CURVE.format(model=_model(artifact)),) if hasattr(suite, "CURVE") else ()
    return (*(parent.table.path for parent in suite.PARENTS), *account, *card, *curve)


def stamp_path(artifact: str) -> str:
    """Where the stamp lies: the hash of the artifact that passed, and nothing else."""
    return f"data/gates/{artifact}.pass"


def run_gate(artifact: str, root: Path, thresholds: Section, mode: Mode) -> GateResult:
    """Check one artifact; write metrics/gates/<artifact>.json, its page and, when it passes, its stamp.

    Args:
        artifact: a suite's name, or ``answers_<model>`` / ``training_<model>``.
        root: the project's root.
        thresholds: of the type `thresholds_type` names.
        mode: ``report`` records a failure and writes the stamp nevertheless.

    Raises:
        GateFailed: in mode ``enforce`` when a critical expectation fails. Metrics and page are written first, the
            stamp is not.
        ArtifactError: the artifact or one of its parents is missing or cannot be read.
    """
    stamp, metrics = root / stamp_path(artifact), root / f"metrics/gates/{artifact}.json"
    # An old verdict must not outlive an artifact that can no longer be read.
    stamp.unlink(missing_ok=True)
    metrics.unlink(missing_ok=True)
    path = root / artifact_path(artifact)
    n_rows, detail = _checked(artifact, root, thresholds)
    n_failed = sum(word(entry) == "failed" for entry in detail)
    result = GateResult(
        artifact, n_failed == 0, n_rows, n_failed, sum(word(entry) == "warning" for entry in detail), tuple(detail)
    )
    # The one number that dvc shows, where there is one: 21 zeros would take half of the 40 rows of `dvc metrics diff`.
    content = {**({"n_failed": n_failed} if n_failed else {}), "detail": detail}
    write_text(metrics, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(root / f"metrics/gates/pages/{artifact}.html", page(artifact, mode, n_rows, n_failed, detail))
    if n_failed and mode == "enforce":
        raise _failure(result)
    write_text(stamp, file_sha256(path) + "\n")
    return result


def _checked(artifact: str, root: Path, thresholds: Section) -> tuple[int, list[dict[str, Any]]]:
    suite = suite_of(artifact)
    parents = {parent.table.name: _parent(parent, root) for parent in suite.PARENTS}
    if not hasattr(suite, "TABLE"):
        summary = _summary(root / artifact_path(artifact), artifact_path(artifact))
        if hasattr(suite, "CURVE"):
            parents["curve"] = _curve(root, suite.CURVE.format(model=_model(artifact)))
        rows, facts = suite.slim(summary, parents), suite.facts(summary, parents)
        checks = suite.expectations(thresholds, {})
        frames = {"rows": rows, "facts": _one_row(facts)}
        return rows.height, _entries(checks, validate(frames, checks), frames, facts, ())
    table: Table = suite.TABLE.of(_model(artifact))
    sizes = {name: frame.height for name, frame in parents.items()}
    if hasattr(suite, "ACCOUNT"):
        parents["account"] = suite.account(_summary(root / suite.ACCOUNT, suite.ACCOUNT))
    shape_checks, own_checks = shape(table), suite.expectations(thresholds, sizes)
    if hasattr(suite, "CARD"):
        own_checks = settled(own_checks, _summary(root / suite.CARD, suite.CARD))
    lazy, n_rows = _open(table, root)
    frames = {
        "header": lazy.head(0).collect(),
        "shape": _columns(table, lazy, n_rows, getattr(suite, "MAY_BE_BLANK", ())),
    }
    facts = Facts()
    if (frames["shape"]["n_wrong_dtype"] > 0).any():
        outcomes = validate(frames, shape_checks)
        entries = _entries(shape_checks, outcomes, frames, facts, table.key)
        return n_rows, entries + [_unchecked(check) for check in own_checks]
    try:
        frames["rows"] = _slim(suite, lazy, n_rows, parents)
        facts = suite.facts(frames["rows"], parents)
    except (pl.exceptions.PolarsError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        outcomes = validate(frames, shape_checks)
        entries = _entries(shape_checks, outcomes, frames, facts, table.key)
        return n_rows, [*entries, _raised(error, n_rows), *(_unchecked(check) for check in own_checks)]
    frames["facts"] = _one_row(facts)
    checks = [*shape_checks, *own_checks]
    return n_rows, _entries(checks, validate(frames, checks), frames, facts, table.key)


# --- reading ----------------------------------------------------------------------------------------------------------


def _open(table: Table, root: Path) -> tuple[pl.LazyFrame, int]:
    path, again = root / table.path, f'rerun "dvc repro {table.stage}"'
    if not path.is_file():
        raise ArtifactError(table.path, "no such artifact", next_step=again)
    try:
        lazy = pl.scan_parquet(path)
        return lazy, int(lazy.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ArtifactError(table.path, "not a readable Parquet file", got=str(error)[:200], next_step=again) from None


def _parent(parent: Parent, root: Path) -> pl.DataFrame:
    """What the suite needs of a parent, slice by slice: of texts their hashes, so no column of them lies in memory."""
    lazy, n_rows = _open(parent.table, root)
    try:
        slices = [
            lazy.slice(start, ROW_GROUP).select(*parent.columns).collect(engine="in-memory")
            for start in range(0, max(n_rows, 1), ROW_GROUP)
        ]
        return pl.concat(slices, rechunk=True)
    except pl.exceptions.PolarsError as error:
        raise ArtifactError(
            parent.table.path,
            "lacks what this gate needs of it",
            got=f"{type(error).__name__}",
            next_step=f'rerun "dvc repro {parent.table.stage}"',
        ) from None


def _summary(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(name, "no such artifact", next_step='rerun "dvc repro"') from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(name, "not valid JSON", got=str(error)[:200], next_step='rerun "dvc repro"') from None
    if not isinstance(content, dict):
        raise ArtifactError(name, "not a JSON object", got=type(content).__name__, next_step='rerun "dvc repro"')
    return content


def _curve(root: Path, name: str) -> pl.DataFrame:
    again = 'rerun "dvc repro"'
    try:
        read = pl.read_csv(root / name, columns=["step", "loss"], infer_schema=False)
    except FileNotFoundError:
        raise ArtifactError(name, "no such artifact", next_step=again) from None
    except pl.exceptions.PolarsError as error:
        raise ArtifactError(name, "no curve of losses", got=type(error).__name__, next_step=again) from None
    return read.select(pl.col("step"), pl.col("loss").str.to_lowercase().cast(pl.Float64, strict=False))


def _columns(table: Table, lazy: pl.LazyFrame, n_rows: int, blank: Sequence[str] = ()) -> pl.DataFrame:
    """One row a declared column: whether its dtype is right, how many nulls, values and numbers are none, and whether
    all its texts are blank."""
    found = lazy.collect_schema()
    right = [column for column in table.columns if found.get(column.name) == column.dtype]
    texts = [column.name for column in right if column.dtype == pl.String and column.name not in blank]
    counted = [
        pl.col(column.name).null_count().cast(pl.Int64).alias(f"null {column.name}")
        for column in right
        if not column.nullable
    ] + [
        (~pl.col(column.name).is_in(list(column.values))).sum().cast(pl.Int64).alias(f"value {column.name}")
        for column in right
        if column.values is not None
    ]
    counted += [
        (~pl.col(column.name).is_finite()).sum().cast(pl.Int64).alias(f"finite {column.name}")
        for column in right
        if column.dtype.is_float()
    ]
    for name in texts:
        counted.append(pl.col(name).is_not_null().sum().cast(pl.Int64).alias(f"text {name}"))
        counted.append(pl.col(name).str.contains(r"\S").sum().cast(pl.Int64).alias(f"words {name}"))
    sums: dict[str, int] = {}
    for start in range(0, n_rows, ROW_GROUP):
        for name, value in _slice(table, lazy.slice(start, ROW_GROUP).select(counted)).to_dicts()[0].items():
            sums[name] = sums.get(name, 0) + value
    return pl.DataFrame(
        {
            "column": [column.name for column in table.columns],
            "n_wrong_dtype": [int(column not in right) for column in table.columns],
            "n_undeclared_null": [sums.get(f"null {column.name}", 0) for column in table.columns],
            "n_undeclared_value": [sums.get(f"value {column.name}", 0) for column in table.columns],
            "n_not_finite": [sums.get(f"finite {column.name}", 0) for column in table.columns],
            "n_empty": [
                int(sums.get(f"text {column.name}", 0) > 0 and not sums[f"words {column.name}"])
                for column in table.columns
            ],
        }
    )


def _slim(suite: ModuleType, lazy: pl.LazyFrame, n_rows: int, parents: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The slim frame, made slice by slice, two at a time, so that a million texts never lie in memory together."""
    step = max(n_rows, 1) if getattr(suite, "WHOLE", False) else ROW_GROUP

    def one(start: int) -> pl.DataFrame:
        made: pl.DataFrame = suite.slim(_slice(suite.TABLE, lazy.slice(start, step)), parents)
        return made

    with ThreadPoolExecutor(max_workers=2) as pool:  # polars lets go of the interpreter's lock
        return pl.concat(pool.map(one, range(0, max(n_rows, 1), step)))


def _slice(table: Table, lazy: pl.LazyFrame) -> pl.DataFrame:
    try:
        return lazy.collect(engine="in-memory")
    except (pl.exceptions.ComputeError, OSError) as error:
        raise ArtifactError(
            table.path,
            "not a readable Parquet file",
            got=str(error)[:200],
            next_step=f'rerun "dvc repro {table.stage}"',
        ) from None


def _one_row(facts: Facts) -> pl.DataFrame:
    return pl.DataFrame({name: [None if value is None else float(value)] for name, value in facts.items()})


# --- telling ----------------------------------------------------------------------------------------------------------


def _entries(
    checks: Sequence[Check],
    outcomes: Sequence[Outcome],
    frames: Mapping[str, pl.DataFrame],
    facts: Facts,
    key: tuple[str, ...],
) -> list[dict[str, Any]]:
    return [_entry(check, outcome, frames, facts, key) for check, outcome in zip(checks, outcomes, strict=True)]


def _entry(
    check: Check, outcome: Outcome, frames: Mapping[str, pl.DataFrame], facts: Facts, key: tuple[str, ...]
) -> dict[str, Any]:
    rows = frames.get("rows")
    n = rows.height if rows is not None else 0
    observed, bound = outcome.observed, None
    n_bad: int | None = len(outcome.bad)
    ids: list[str] = []
    if check.share is not None:
        observed, bound = number(facts.get(check.share)), outcome.observed
        n_bad, n = facts.base.get(check.share, (None, n))
        if not outcome.passed and rows is not None and check.flag in rows.columns:
            ids = _ids(rows.filter(pl.col(str(check.flag))), key, check)
    elif check.frame == "facts":
        fact = str(check.column)
        ids = [] if outcome.passed else facts.ids.get(fact, [])
        n_bad = facts.base[fact][0] if fact in facts.base else None
    elif check.frame == "shape":
        n, n_bad = frames["shape"].height, outcome.observed
        ids = [str(name) for name in frames["shape"]["column"].gather(list(outcome.bad))][:WORST]
    elif check.frame == "rows" and outcome.bad and rows is not None:
        ids = _ids(rows[list(outcome.bad)], key, check)
    if check.frame == "rows" and check.column is not None and outcome.error is None:
        n_bad = outcome.observed
    elif check.column is None:
        n_bad = None
    return {
        "expectation": snake(check.expectation),
        "kind": check.kind,
        "severity": check.severity,
        "column": check.column,
        "observed": observed,
        "bound": bound,
        "threshold": check.threshold,
        "n": n,
        "n_bad": n_bad,
        "worst_ids": ids,
        "passed": outcome.passed,
        "error": outcome.error,
        "words": check.words,
    }


def _unchecked(check: Check) -> dict[str, Any]:
    entry = _entry(check, Outcome(True, None), {}, Facts(), ())
    return {**entry, "n": None, "n_bad": None, "passed": None}


def _raised(error: Exception, n_rows: int) -> dict[str, Any]:
    """An exception of the suite itself: its type, and its message only where that can name nothing but columns."""
    message = f": {str(error).splitlines()[0][:200]}" if isinstance(error, _NAMES_COLUMNS) and str(error) else ""
    check = Check("SlimFrame", {}, "invariant", "rows", "the suite's own measures can be taken")
    entry = _entry(check, Outcome(False, None, (), f"{type(error).__name__}{message}"), {}, Facts(), ())
    return {**entry, "n": n_rows}


def _ids(bad: pl.DataFrame, key: tuple[str, ...], check: Check) -> list[str]:
    if check.worst_by is not None and check.worst_by in bad.columns:
        bad = bad.sort(pl.col(check.worst_by), descending=True, maintain_order=True)
    elif check.expectation == "ExpectColumnValuesToBeBetween":
        middle = [bound for bound in check.threshold if bound is not None]
        far = (pl.col(check.arguments["column"]) - sum(middle) / len(middle)).abs()
        bad = bad.sort(far, descending=True, maintain_order=True)
    head = bad.head(WORST)
    return [
        "/".join(str(part) for part in row) for row in head.select(name for name in key if name in head.columns).rows()
    ]


def snake(name: str) -> str:
    """The expectation's name as Great Expectations writes it.

    >>> snake("ExpectColumnMaxToBeBetween")
    'expect_column_max_to_be_between'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _failure(result: GateResult) -> GateFailed:
    failed = [entry for entry in result.detail if word(entry) == "failed"]
    lines = []
    for entry in failed:
        about = f" {entry['column']}" if entry["column"] else ""
        said = [f"observed {shown(entry['observed']) or 'nothing'}"]
        if entry["bound"] is not None:
            said.append(f"bound {shown(entry['bound'])}")
        said.append(f"threshold {shown(entry['threshold'])}")
        if entry["n_bad"] is not None:
            said.append(f"{entry['n_bad']} of {entry['n']} rows" if entry["column"] else f"{entry['n']} rows")
        if entry["error"]:
            said.append(str(entry["error"]))
        worst = f"\n      worst: {' '.join(entry['worst_ids'])}" if entry["worst_ids"] else ""
        lines.append(f"  {entry['words']}\n      {entry['expectation']}{about}: {'; '.join(said)}{worst}")
    unchecked = sum(entry["passed"] is None for entry in result.detail)
    told = f" ({unchecked} could not be checked)" if unchecked else ""
    return GateFailed(
        f"gate {result.artifact}",
        f"{len(failed)} of {len(result.detail)} expectations failed{told}\n" + "\n".join(lines) + "\n",
        next_step=f"open metrics/gates/pages/{result.artifact}.html; mend what wrote {artifact_path(result.artifact)}, "
        f"or change gates.{block_name(result.artifact)} in params.yaml with a reason; to compare a dirty variant: "
        "dvc exp run -S gates.mode=report",
    )

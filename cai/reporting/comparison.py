"""Two commits or experiments compared prompt by prompt, from the outcomes in Git: no data is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cai.errors import ArtifactError
from cai.reporting.changes import paired
from cai.reporting.inputs import MODELS
from cai.reporting.number import number, points
from cai.reporting.questions import Change

if TYPE_CHECKING:
    from rich.console import Group

WORKSPACE = "workspace"


def compared(root: Path, a: str, b: str) -> dict[str, dict[str, Change]]:
    """{model: {measure: b minus a}} over the prompts that both revisions answered.

    Raises:
        ArtifactError: a revision is unknown, or no model has outcomes in both.
    """
    first, second = (_revision(root, name) for name in (a, b))
    found = {}
    for model in MODELS:
        left, right = _outcomes(root, first, model), _outcomes(root, second, model)
        if left is not None and right is not None:
            found[model] = paired(left, right)
    if not found:
        raise ArtifactError(
            "metrics/eval",
            "no model has outcomes in both",
            got=f"{a}, {b}",
            next_step="commit metrics/eval, then compare",
        )
    return found


def comparison(root: Path, a: str, b: str) -> Group:
    """The comparison for the terminal: primary measures first, with n, interval, p and what could have been seen."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    told: list[Table | Text] = []
    for model, changes in compared(root, a, b).items():
        table = Table(title=f"{model}: {b} minus {a}, same prompts, 95 % intervals", title_justify="left")
        for heading in ("measure", a, b, "difference", "interval", "pairs", "p", "could show"):
            table.add_column(heading, justify="left" if heading == "measure" else "right")
        unmeasured: dict[str, list[str]] = {}
        for name, change in sorted(changes.items(), key=lambda pair: not pair[1].primary):
            one = change.difference
            unit = str(one.get("unit", "share"))
            if one["value"] is None or change.before is None or change.after is None:
                unmeasured.setdefault(str(one.get("reason")), []).append(name)
                continue
            low, high = one.get("interval") or (None, None)
            table.add_row(
                Text(name, style="bold" if change.primary else ""),
                number(change.before, unit),
                number(change.after, unit),
                points(one["value"], unit),
                "" if low is None or high is None else f"{points(low, unit)} to {points(high, unit)}",
                f"n {one['n']}, {one['n_missing']} missing",
                "" if change.p_value is None else f"{change.p_value:.3g}",
                "" if one.get("detectable") is None else points(one["detectable"], unit).lstrip("+"),
            )
        told.append(table)
        told += [Text(f"not measured: {', '.join(names)}: {why}", style="dim") for why, names in unmeasured.items()]
    told.append(Text("Bold: primary measures, whose p is Holm's. The others are exploratory.", style="dim"))
    return Group(*told)


def _revision(root: Path, name: str) -> str | None:
    """The commit that a revision or a DVC experiment names; None for the files as they are."""
    if name == WORKSPACE:
        return None
    known = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if known:
        return known.strip()
    experiments = _git(root, "for-each-ref", "--format=%(refname)", "refs/exps") or ""
    for ref in experiments.split():
        if ref.rsplit("/", 1)[-1] == name:
            return ref
    raise ArtifactError(
        "cai compare", "no such revision or experiment", got=name, next_step='see "git log" and "dvc exp show"'
    )


def _outcomes(root: Path, revision: str | None, model: str) -> pl.DataFrame | None:
    from cai.scoring.outcomes import from_csv

    path = f"metrics/eval/{model}.outcomes.csv"
    if revision is None:
        file = root / path
        text = file.read_text(encoding="utf-8") if file.is_file() else None
    else:
        text = _git(root, "show", f"{revision}:./{path}")
    return None if text is None else from_csv(text, path)


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, or None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None

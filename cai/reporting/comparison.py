"""Two commits or experiments compared prompt by prompt, from the outcomes in Git: no data is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cai.errors import ArtifactError
from cai.reporting.changes import paired
from cai.reporting.inputs import MODELS
from cai.reporting.number import number, points
from cai.reporting.questions import Change
from cai.reporting.revisions import outcomes_at, revision

if TYPE_CHECKING:
    from rich.console import Group

POOLED = (
    "Several runs on a side are averaged within each prompt; below the mean stands each run's own value. The interval "
    "is over prompts for these very runs; how far another seed would fall from them is to be read off the runs."
)


Changes = dict[str, dict[str, Change]]


@dataclass(frozen=True)
class Comparison:
    """{model: {measure: b minus a}}, the runs on each side, and each run's own value where several were pooled."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    changes: Changes
    runs: dict[str, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]]

    def told(self, model: str, measure: str, side: int, unit: str) -> str:
        """The values of the pooled runs of one side, in the order they were named; "" for a single one."""
        values = self.runs.get(model, {}).get(measure, ((), ()))[side]
        return ", ".join(number(value, unit) for value in values) if len(values) > 1 else ""


def compared(root: Path, a: str, b: str) -> Comparison:
    """b minus a over the prompts that both answered.

    A side may name several runs, "seed-0,seed-1,seed-2": their outcomes are averaged within each prompt before the two
    sides are paired, so n counts prompts. The interval is over prompts for these very runs; what another seed would do
    is in the runs' own values.

    Raises:
        ArtifactError: a revision is unknown, or no model has outcomes in all of them.
    """
    names = tuple(tuple(part.strip() for part in side.split(",") if part.strip()) for side in (a, b))
    if not all(names):
        raise ArtifactError("cai compare", "no revision is named", got=f"{a!r}, {b!r}")
    from cai.scoring.outcomes import pooled

    sides = [[revision(root, name) for name in side] for side in names]
    changes: Changes = {}
    runs: dict[str, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {}
    for model in MODELS:
        found = [[outcomes_at(root, commit, model) for commit in side] for side in sides]
        left, right = ([one for one in side if one is not None] for side in found)
        if len(left) < len(sides[0]) or len(right) < len(sides[1]):
            continue
        pools = pooled(left), pooled(right)
        changes[model] = paired(*pools)
        if len(left) + len(right) > 2:
            runs[model] = _each(left, right, pools)
    if not changes:
        raise ArtifactError(
            "metrics/eval",
            "no model has outcomes in all of them",
            got=f"{a}, {b}",
            next_step="commit metrics/eval, then compare",
        )
    return Comparison(names[0], names[1], changes, runs)


def _each(
    left: Sequence[pl.DataFrame], right: Sequence[pl.DataFrame], pools: tuple[pl.DataFrame, pl.DataFrame]
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """{measure: (each run's value of a, each run's value of b)}, over the prompts shared with the other side."""
    from cai.scoring.outcomes import compare

    values: dict[str, tuple[list[float], list[float]]] = {}
    for run in left:
        for one in compare(run, pools[1], draws=1):
            if one.a is not None:
                values.setdefault(one.name, ([], []))[0].append(one.a)
    for run in right:
        for one in compare(pools[0], run, draws=1):
            if one.b is not None:
                values.setdefault(one.name, ([], []))[1].append(one.b)
    return {name: (tuple(first), tuple(second)) for name, (first, second) in values.items()}


@dataclass(frozen=True)
class Row:
    """One measure in words; ``not_measured`` says why there are none."""

    measure: str
    primary: bool
    a: str = ""
    a_runs: str = ""
    b: str = ""
    b_runs: str = ""
    difference: str = ""
    interval: str = ""
    pairs: str = ""
    discordant: str = ""
    p: str = ""
    could_show: str = ""
    not_measured: str | None = None


def rows(found: Comparison, model: str) -> list[Row]:
    """The measures of one model, primary ones first, those without a value last."""
    told = []
    for name, change in found.changes[model].items():
        one = change.difference
        unit = str(one.get("unit", "share"))
        pairs = f"n {one['n']}, {one['n_missing']} missing"
        if one["value"] is None or change.before is None or change.after is None:
            told.append(Row(name, change.primary, pairs=pairs, not_measured=str(one.get("reason"))))
            continue
        low, high = one.get("interval") or (None, None)
        only_a, only_b = one.get("n_only_a"), one.get("n_only_b")
        told.append(
            Row(
                name,
                change.primary,
                number(change.before, unit),
                found.told(model, name, 0, unit),
                number(change.after, unit),
                found.told(model, name, 1, unit),
                points(one["value"], unit),
                "" if low is None or high is None else f"{points(low, unit)} to {points(high, unit)}",
                pairs,
                "" if only_a is None else f"{only_a} and {only_b}",
                "" if change.p_value is None else f"{change.p_value:.3g}",
                "nothing" if one.get("detectable") is None else points(one["detectable"], unit).lstrip("+"),
            )
        )
    return sorted(told, key=lambda row: (row.not_measured is not None, not row.primary))


def comparison(found: Comparison) -> Group:
    """The comparison for the terminal: primary measures first, with n, interval, p and what could have been seen."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    a, b = (" + ".join(side) for side in (found.a, found.b))
    told: list[Table | Text] = []
    for model in found.changes:
        table = Table(title=f"{model}: {b} minus {a}, same prompts, 95 % intervals", title_justify="left")
        for heading in ("measure", a, b, "difference", "interval", "pairs", "p", "could show"):
            table.add_column(heading, justify="left" if heading == "measure" else "right")
        unmeasured: dict[str, list[str]] = {}
        for row in rows(found, model):
            if row.not_measured is not None:
                unmeasured.setdefault(row.not_measured, []).append(row.measure)
                continue
            sides = [
                f"{value}\n{runs}" if runs else value for value, runs in ((row.a, row.a_runs), (row.b, row.b_runs))
            ]
            name = Text(row.measure, style="bold" if row.primary else "")
            table.add_row(name, *sides, row.difference, row.interval, row.pairs, row.p, row.could_show)
        told.append(table)
        told += [Text(f"not measured: {', '.join(names)}: {why}", style="dim") for why, names in unmeasured.items()]
    told.append(Text("Bold: primary measures, whose p is Holm's. The others are exploratory.", style="dim"))
    if found.runs:
        told.append(Text(POOLED, style="dim"))
    return Group(*told)


def page(found: Comparison) -> str:
    """The comparison as one self-contained HTML text: nothing but revisions, measures and numbers is on it."""
    from cai.reporting import figures
    from cai.reporting.report import rendered

    drawn = []
    for model, changes in found.changes.items():
        for name, change in changes.items():
            one = change.difference
            if change.primary and one.get("unit") == "share" and one["value"] is not None and one.get("interval"):
                low, high = one["interval"]
                label = f"{model}: {name.removesuffix('_share').replace('_', ' ')}"
                drawn.append({"label": label, "group": model, "value": one["value"], "low": low, "high": high})
    title = "Differences of the primary shares: " + "; ".join(
        f"{row['label']} {points(float(row['value']))}" for row in drawn
    )
    figure = figures.intervals(drawn, name="changes", title=title, unit="change", width=520) if drawn else None
    return rendered(
        "compare.html",
        a=found.a,
        b=found.b,
        models={model: rows(found, model) for model in found.changes},
        figure=figure,
        pooled_words=POOLED if found.runs else None,
    )

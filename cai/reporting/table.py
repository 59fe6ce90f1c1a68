"""The tables of the terminal: results with their base, gates, and where the time went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.errors import ArtifactError
from cai.reporting import gates as gates_
from cai.reporting.changes import changes
from cai.reporting.evaluation import Evaluation, evaluations, judge
from cai.reporting.flow import subset_names
from cai.reporting.inputs import HELDOUT, Inputs
from cai.reporting.number import plain, shown
from cai.reporting.questions import four
from cai.reporting.seeds import seeds

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def results(root: Path) -> Group:
    """The four answers, then one row a measure with a column a model; no number without its n.

    Where no model has a value the reason stands once, below the table.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    inputs = Inputs(root)
    scored, card = evaluations(inputs), judge(inputs)
    changed, pool = changes(scored), seeds(inputs, scored)
    if pool is not None:
        scored, changed = pool.evaluations(scored), dict(pool.changes)
    names = subset_names(inputs)
    words = gates_.marks(gates_.gates(inputs))
    answers = Table(title="Four questions", title_justify="left", show_header=False, box=None, pad_edge=False)
    styles = {"good": "green", "bad": "red", "open": "yellow", "none": "dim"}
    for answer in four(scored, card, changed, names):
        answers.add_row(
            answer.question, Text(answer.answer, style=styles[answer.tone]), Text("\n".join(answer.because))
        )
    table = Table(title="Results, 95 % intervals", title_justify="left")
    table.add_column("measure")
    for model in scored:
        table.add_column(model)
    from cai.reporting.report import could_show

    reasons: dict[str, list[str]] = {}
    for label, cells in _rows(scored, names):
        if all(cell is None or cell["value"] is None for cell in cells):
            why = next((shown(cell).reason for cell in cells if cell is not None), None) or "nobody asked"
            reasons.setdefault(why, []).append(label)
            continue
        table.add_row(label, *[_cell(cell) for cell in cells])
    told: list[Any] = [answers, Text("")]
    if table.row_count:
        told += [table, Text(could_show(cell for _, cells in _rows(scored, names) for cell in cells), style="dim")]
    told += [Text(f"not measured: {', '.join(labels)}: {why}", style="dim") for why, labels in reasons.items()]
    told += [Text(f"{model}: {said}", style="red") for model, said in words.items()]
    told += [Text(line, style="dim") for line in inputs.missing]
    return Group(*told)


def markdown(root: Path) -> str:
    """The result table as Markdown, for the README: a row a measure, a column a model, n and interval in each cell."""
    inputs = Inputs(root)
    scored, names = evaluations(inputs), subset_names(inputs)
    pool = seeds(inputs, scored)
    scored = scored if pool is None else pool.evaluations(scored)
    lines = [f"| measure | {' | '.join(scored)} |", f"|---|{'---|' * len(scored)}"]
    unmeasured = []
    for label, cells in _rows(scored, names):
        if all(cell is None or cell["value"] is None for cell in cells):
            unmeasured.append(label)
            continue
        lines.append(f"| {label} | {' | '.join(_cell(cell).replace(chr(10), '<br>') for cell in cells)} |")
    if unmeasured:
        lines += ["", f"Not measurable here, because the judge's card marks it not valid: {'; '.join(unmeasured)}."]
    return "\n".join(lines) + "\n"


def gates_table(root: Path) -> Table:
    """One row a gate: result, rows, expectations, and what failed."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Gates", title_justify="left")
    for heading in ("artifact", "result", "rows", "expectations", "what did not pass"):
        table.add_column(heading, justify="right" if heading in ("rows", "expectations") else "left")
    styles = {"failed": "bold red", "passed": "green"}
    for gate in gates_.gates(Inputs(root)):
        told = "\n".join(
            f"{entry.get('words') or entry['expectation']}: observed {plain(entry.get('observed')) or 'nothing'}, "
            f"threshold {plain(entry.get('threshold')) or 'none'}, n {plain(entry.get('n'))}"
            + ("; worst " + " ".join(entry["worst_ids"][:3]) if entry.get("worst_ids") else "")
            for entry in gate.entries
        )
        table.add_row(
            gate.artifact,
            Text(gate.word, style=styles.get(gate.word, "yellow")),
            plain(gate.n_rows),
            gate.tally,
            Text(told or "all passed"),
        )
    return table


def stage_shares(work: Path) -> Table:
    """One row a stage: seconds of its last run and their share of all, in the order in which they ended."""
    from rich.table import Table

    records = run_records(work)
    total = sum(record["seconds"] for record in records)
    table = Table(title=f"Time: {total:.0f} s in {len(records)} stages (last run of each)", title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    for record in records:
        share = f"{100 * record['seconds'] / total:.1f} %" if total else ""
        table.add_row(record["stage"], f"{record['seconds']:.1f}", share)
    return table


def run_records(work: Path) -> list[dict[str, Any]]:
    """{stage, seconds, cpu_seconds, ended} of the last run of every stage, in the order in which they ended.

    Raises:
        ArtifactError: a record is not JSON.
    """
    found = []
    for file in sorted((work / "runs").glob("*.json")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            found.append(
                {
                    "stage": str(record["stage"]),
                    "seconds": float(record["seconds"]),
                    "cpu_seconds": record.get("cpu_seconds"),
                    "ended": record.get("ended"),
                }
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f".work/runs/{file.name}", "not a run record", got=str(error)[:100], next_step="delete the file"
            ) from None
    return sorted(found, key=lambda record: (record["ended"] or "", record["stage"]))


def _rows(scored: Mapping[str, Evaluation], subsets: Mapping[str, str]) -> list[tuple[str, list[Any]]]:
    """(label with its set and horizon, a measure a model)."""
    rows = []
    for group, leaf, label in (
        ("degeneration", "degenerate_share", "degenerate"),
        ("degeneration", "eos_fail_share", "never stops"),
        ("degeneration", "meta_talk_share", "meta talk"),
        ("mtbench", "turn_1", "MT-Bench, turn 1"),
        ("mtbench", "turn_2", "MT-Bench, turn 2"),
        ("mtbench", "mean", "MT-Bench, mean"),
        ("redteam", "attack_success_share", "attack success"),
        ("refusal", "over_refusal_share", "over-refusal"),
    ):
        names = dict.fromkeys(name for one in scored.values() for name in one.of(group, leaf))
        if leaf in ("eos_fail_share", "meta_talk_share"):
            names = dict.fromkeys(name for name in names if name == HELDOUT)
        for name in sorted(names, key=lambda one: (one != HELDOUT, one)):
            cells = [one.of(group, leaf).get(name) for one in scored.values()]
            horizon = next((cell["horizon"] for cell in cells if cell is not None and cell.get("horizon")), None)
            where = [] if name == group and name not in subsets else [subsets.get(name, name)]
            rows.append((", ".join([label, *where, *([horizon] if horizon else [])]), cells))
    return rows


def _cell(measure: Any) -> str:
    if measure is None:
        return ""
    found = shown(measure)
    if found.value is None:
        return f"not measured\n{found.base}"
    between = f" [{found.interval}]" if found.interval else ""
    return f"{found.value}{between}\n{found.base}"

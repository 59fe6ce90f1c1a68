"""What the gates found, and which models stand downstream of a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cai.artifacts.gated import BY_NAME
from cai.reporting.inputs import MODELS, Inputs

# Every suite counts its table. Other expectations count columns, or the rows of a parent.
_ROWS = "expect_table_row_count_to_be_between"


@dataclass(frozen=True)
class Gate:
    """One gate's result; ``entries`` are what did not pass, as metrics/gates/<artifact>.json has them."""

    artifact: str
    n_checks: int
    n_failed: int
    n_warnings: int
    n_unchecked: int
    n_rows: int | None
    entries: tuple[Mapping[str, Any], ...]

    @property
    def word(self) -> str:
        """failed, warnings or passed."""
        if self.n_failed:
            return "failed"
        return "passed with warnings" if self.n_warnings else "passed"

    @property
    def tally(self) -> str:
        """How many expectations there are, and how many of them did not pass.

        >>> Gate("samples", 33, 1, 2, 0, 128, ()).tally
        '33, 1 failed, 2 warnings'
        """
        counts = ((self.n_failed, "failed"), (self.n_warnings, "warnings"), (self.n_unchecked, "unchecked"))
        return ", ".join([str(self.n_checks), *(f"{n} {name}" for n, name in counts if n)])


def gates(inputs: Inputs) -> list[Gate]:
    """Every gate that has run, in the order of the flow."""
    folder = inputs.root / "metrics" / "gates"
    names = {file.stem for file in folder.glob("*.json")}
    ordered = [name for name in BY_NAME if name in names] + sorted(names - set(BY_NAME))
    if not names:
        inputs.missing.append(inputs.why("metrics/gates", "gate"))
    return [_gate(name, inputs.json(f"metrics/gates/{name}.json", f"gate@{name}") or {}) for name in ordered]


def _gate(name: str, content: Mapping[str, Any]) -> Gate:
    detail: Sequence[Mapping[str, Any]] = content.get("detail", ())
    failed = [entry for entry in detail if entry.get("passed") is False and entry.get("severity") != "warning"]
    warned = [entry for entry in detail if entry.get("passed") is False and entry.get("severity") == "warning"]
    counted = (
        entry for entry in detail if entry.get("expectation") == _ROWS and isinstance(entry.get("observed"), int)
    )
    rows = next(counted, {}).get("observed")
    return Gate(
        name,
        len(detail),
        int(content.get("n_failed", len(failed))),
        len(warned),
        sum(entry.get("passed") is None for entry in detail),
        rows,
        tuple(failed + warned),
    )


def marks(found: Sequence[Gate]) -> dict[str, str]:
    """{model: "trained on data that failed gate cleaned"} for every model downstream of a failed gate.

    >>> marks([Gate("samples", 3, 1, 0, 0, 9, ())])
    {'dpo': 'trained on data that failed gate samples'}
    """
    words: dict[str, str] = {}
    for place, model in enumerate(MODELS):
        upstream = [
            gate.artifact
            for gate in found
            if gate.n_failed and (first := _first_trained(gate)) is not None and MODELS.index(first) <= place
        ]
        if upstream:
            words[model] = f"trained on data that failed gate {', '.join(upstream)}"
    return words


def marked_artifacts(found: Sequence[Gate]) -> list[str]:
    """Failed gates whose artifacts nobody trains on: the numbers, not the models, stand on them."""
    return [gate.artifact for gate in found if gate.n_failed and _first_trained(gate) is None]


def _first_trained(gate: Gate) -> str | None:
    known = BY_NAME.get(gate.artifact)
    return None if known is None else known.first_model

"""What the gates found, and which models stand downstream of a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cai.reporting.inputs import MODELS, Inputs

ORDER = (
    "evaluation_prompts",
    "prompts",
    "instructions",
    "training_instruct",
    "responses",
    "critiques",
    "revisions",
    "cleaned",
    "dropped",
    "edits",
    "training_sft",
    "samples",
    "verdicts",
    "preferences",
    "excluded",
    "training_dpo",
    "answers_base",
    "answers_instruct",
    "answers_sft",
    "answers_dpo",
)
# The first model that was trained on the artifact, or on what was made of it; those after it stand on that one.
FIRST_TRAINED = {
    "instructions": "instruct",
    "prompts": "sft",
    "training_instruct": "sft",
    "responses": "sft",
    "critiques": "sft",
    "revisions": "sft",
    "cleaned": "sft",
    "dropped": "sft",
    "edits": "sft",
    "training_sft": "dpo",
    "samples": "dpo",
    "verdicts": "dpo",
    "preferences": "dpo",
    "excluded": "dpo",
}


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


def gates(inputs: Inputs) -> list[Gate]:
    """Every gate that has run, in the order of the flow."""
    folder = inputs.root / "metrics" / "gates"
    names = {file.stem for file in folder.glob("*.json")}
    ordered = [name for name in ORDER if name in names] + sorted(names - set(ORDER))
    if not names:
        inputs.missing.append(inputs.why("metrics/gates", "gate"))
    return [_gate(name, inputs.json(f"metrics/gates/{name}.json", f"gate@{name}") or {}) for name in ordered]


def _gate(name: str, content: Mapping[str, Any]) -> Gate:
    detail: Sequence[Mapping[str, Any]] = content.get("detail", ())
    failed = [entry for entry in detail if entry.get("passed") is False and entry.get("severity") != "warning"]
    warned = [entry for entry in detail if entry.get("passed") is False and entry.get("severity") == "warning"]
    rows = [entry["n"] for entry in detail if isinstance(entry.get("n"), int)]
    return Gate(
        name,
        len(detail),
        int(content.get("n_failed", len(failed))),
        len(warned),
        sum(entry.get("passed") is None for entry in detail),
        max(rows, default=None),
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
            if gate.n_failed
            and MODELS.index(FIRST_TRAINED.get(gate.artifact, "dpo")) <= place
            and gate.artifact in FIRST_TRAINED
        ]
        if upstream:
            words[model] = f"trained on data that failed gate {', '.join(upstream)}"
    return words


def marked_artifacts(found: Sequence[Gate]) -> list[str]:
    """Failed gates whose artifacts nobody trains on: the numbers, not the models, stand on them."""
    return [gate.artifact for gate in found if gate.n_failed and gate.artifact not in FIRST_TRAINED]

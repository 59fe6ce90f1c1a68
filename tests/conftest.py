"""How the tests are spread over processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """One process a file, so that what a file sets up is set up once; tests/pipeline shares one repro, so one for all.

    Not by marks and `--dist loadgroup`: pytest 9.2 keeps an item's id where xdist 3.8 does not write the group's name, and
    every test then goes to any process.
    """
    from xdist.scheduler import LoadFileScheduling

    class OnePipeline(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "pipeline" if nodeid.startswith("tests/pipeline/") else super()._split_scope(nodeid)

    return OnePipeline(config, log)

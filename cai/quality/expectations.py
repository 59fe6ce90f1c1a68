"""Great Expectations, imported at about half its cost: a gate is little else than this import, and there are twenty."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

# Imported at the top of modules for what no gate does: distribution tests, drawings, clouds, JSON schemas.
UNUSED = frozenset({"scipy.stats", "altair", "boto3", "jsonschema"})


class _Lazily(MetaPathFinder):
    """Finds these modules as the import system would, but loads them when an attribute is first asked for."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in UNUSED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextlib.contextmanager
def _cheap_imports() -> Iterator[None]:
    """Loads `UNUSED` lazily, and collects no garbage while thousands of classes are made that all stay."""
    finder, collected = _Lazily(), gc.isenabled()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if collected:
            gc.enable()


def great_expectations() -> tuple[ModuleType, ModuleType]:
    """The package and its expectations, by the names of their classes."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with _cheap_imports():
        import great_expectations as gx
        import great_expectations.expectations as gxe
    return gx, gxe

"""Great Expectations, imported at a third of its cost: a gate is little else than this import, and there are twenty."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any

# The expectations that suites use (a test compares); the fifty others are models that take as long to make as to use.
ASKED = (
    "ExpectColumnMaxToBeBetween",
    "ExpectColumnMinToBeBetween",
    "ExpectColumnValuesToBeBetween",
    "ExpectColumnValuesToBeInSet",
    "ExpectColumnValuesToBeUnique",
    "ExpectCompoundColumnsToBeUnique",
    "ExpectTableColumnsToMatchOrderedList",
    "ExpectTableRowCountToBeBetween",
)
# Imported at the top of modules for what no gate does: distribution tests, drawings, JSON schemas.
UNUSED = frozenset({"scipy.stats", "altair", "jsonschema"})
# Great Expectations works without it, and says so where it would be needed.
OPTIONAL = frozenset({"boto3", "botocore"})
# Drawn and sent by other commands than a gate.
_TOLD = frozenset({"great_expectations.render.view", "great_expectations.checkpoint.actions"})
_CORE, _SOURCES = "great_expectations.expectations.core.", "great_expectations.datasource.fluent."


class _Absent(ModuleType):
    """A module whose classes can be named and tested against, but not made."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(cls: type, *args: object, **kwargs: object) -> None:
            raise NotImplementedError(f"{name} is not loaded: add it to ASKED in {__name__}")

        made = type(name, (), {"__new__": refuse})
        setattr(self, name, made)
        return made


class _Cheaply(MetaPathFinder, Loader):
    """Leaves databases, clouds and unasked expectations out, and loads `UNUSED` when an attribute is asked for."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if _left_out(name):
            return ModuleSpec(name, self)
        spec = PathFinder.find_spec(name, path, target) if name in UNUSED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: its attributes are made when they are asked for."""


def _left_out(name: str) -> bool:
    if name in _TOLD:
        return True
    if name.startswith(_CORE):
        word = name.removeprefix(_CORE)
        return word.startswith("expect_") and word.replace("_", "") not in {asked.lower() for asked in ASKED}
    return name.startswith(_SOURCES) and name.endswith("_datasource") and not name.endswith(".invalid_datasource")


@contextlib.contextmanager
def _cheap_imports() -> Iterator[None]:
    """Imports by `_Cheaply`, and collects no garbage while thousands of classes are made that all stay."""
    finder, collected = _Cheaply(), gc.isenabled()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if collected:
            gc.enable()


def great_expectations() -> tuple[ModuleType, type[Any]]:
    """The expectations by the names of their classes, and what validates them on one pandas frame.

    The validator stands below the data context, which would write its configuration out as YAML for every frame.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with _cheap_imports():
        import great_expectations.expectations as gxe
        from great_expectations.execution_engine import PandasExecutionEngine
        from great_expectations.validator.validator import Validator

    class Frame(Validator):  # type: ignore[misc, unused-ignore]
        """A frame to validate expectations on, without progress bars."""

        def __init__(self, data: Any) -> None:
            super().__init__(execution_engine=PandasExecutionEngine(batch_data_dict={"frame": data}))

        def _determine_progress_bars(self) -> bool:
            return False

    return gxe, Frame

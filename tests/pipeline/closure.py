"""Which project files a stage runs: its import closure, function-level imports included."""

import ast
from functools import cache
from pathlib import Path

# Plumbing that may not change a result, and so may be left out of deps (DESIGN section 2).
PLUMBING = {"cai/run.py", "cai/errors.py", "cai/llm/cache.py", "cai/llm/prices.py", "cai/llm/batches.py"}
PACKAGES = {"cai", "stages"}


@cache
def imported(file: Path, root: Path) -> frozenset[Path]:
    """Project files that one file imports, anywhere in it, as paths relative to the root."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] not in PACKAGES:
                continue
            path = Path(*name.split("."))
            if (root / path).with_suffix(".py").is_file():
                found.add(path.with_suffix(".py"))
            elif (root / path / "__init__.py").is_file():
                found.add(path / "__init__.py")
    return frozenset(found)


def closure(start: set[Path], root: Path) -> set[str]:
    """All project files reached from the start files, without plumbing and without files that say nothing."""
    seen: set[Path] = set()
    waiting = list(start)
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        if file.as_posix() not in PLUMBING:
            waiting += imported(file, root) - seen
    return {file.as_posix() for file in seen if file.as_posix() not in PLUMBING and says_something(root / file)}


@cache
def says_something(file: Path) -> bool:
    """Whether a file holds more than a docstring: an empty package file can change no result."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)

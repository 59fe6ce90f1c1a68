"""Recipes: named overrides of params.yaml, applied to the file itself, so that what a run used stands in Git."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cai.artifacts.table import write_text
from cai.errors import ParamsError
from cai.params import read_yaml

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The recipes that exist."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def apply(name: str, params: Path, values: Sequence[str] = ()) -> list[str]:
    """Write the recipe's values into params.yaml, comments kept; the lines say what changed.

    Args:
        name: one of `names`.
        params: the file.
        values: ``a.b=value`` in YAML, each over what the recipe says.

    Raises:
        ParamsError: no such recipe, or it or a value names a key that params.yaml does not have.
    """
    # ruamel comes with DVC, which uses it for the same reason: it keeps comments.
    from ruamel.yaml import YAML

    file = FOLDER / f"{name}.yaml"
    if name not in names():
        raise ParamsError("cai use", "no such recipe", got=name, expected=", ".join(names()))
    wanted = [*leaves(read_yaml(file)), *map(_given, values)]
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(float, _float)
    content = yaml.load(params.read_text(encoding="utf-8"))
    unknown = [".".join(path) for path, _ in wanted if not _has(content, path)]
    if unknown:
        raise ParamsError(file.name, "names keys that params.yaml does not have", got=", ".join(unknown))
    lines = []
    # The last word on a path counts, and is said once.
    for path, value in dict(wanted).items():
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        if holder[path[-1]] != value:
            lines.append(f"{'.'.join(path)}: {holder[path[-1]]} -> {value}")
            holder[path[-1]] = value
    out = io.StringIO()
    yaml.dump(content, out)
    write_text(params, out.getvalue())
    return lines or [f"params.yaml is {name} already"]


def _given(text: str) -> tuple[tuple[str, ...], Any]:
    import yaml

    path, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError("no =")
        return tuple(path.split(".")), yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise ParamsError("cai use -S", "not a value for a key", got=text, expected="a.b=value, as YAML") from None


def leaves(content: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, value) of everything that is not a mapping."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _float(representer: Any, value: float) -> Any:
    """The number with a point before the exponent: without one, YAML 1.1 readers (DVC, PyYAML) take it for a text."""
    written = repr(value)
    if "e" in written and "." not in written:
        written = written.replace("e", ".0e")
    return representer.represent_scalar("tag:yaml.org,2002:float", written)


def _has(content: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True

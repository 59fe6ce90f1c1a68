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
    yaml.representer.add_representer(type(None), _null)
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
    """As the file writes numbers: 3.0e-4, 0.02.

    A point stands before the exponent: without one, YAML 1.1 readers (DVC, PyYAML) take the number for a text.
    """
    written = repr(value)
    if 0 < abs(value) < 1e-3 or "e" in written:
        digits, _, exponent = shortest(value).partition("e")
        written = f"{digits if '.' in digits else digits + '.0'}e{exponent[0]}{exponent[1:].lstrip('0')}"
    return representer.represent_scalar("tag:yaml.org,2002:float", written)


def shortest(value: float) -> str:
    """The number with an exponent and as few digits as say it.

    >>> shortest(0.0003), shortest(0.000125)
    ('3e-04', '1.25e-04')
    """
    return next(text for digits in range(18) if float(text := f"{value:.{digits}e}") == value)


def _null(representer: Any, value: None) -> Any:
    """A word, as the file has it, rather than nothing at all."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _has(content: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True

"""The tables' documentation: data/README.md's middle part is what this module renders from their declarations.

``python -m cai.artifacts.document`` writes it again after a column has changed; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from cai.artifacts.catalogue import TABLES
from cai.artifacts.table import Column, Table, write_text
from cai.errors import ArtifactError

BEGIN: Final = "<!-- tables: rendered by python -m cai.artifacts.document -->"
END: Final = "<!-- /tables -->"
PAGE: Final = "data/README.md"

_KINDS: Final = {pl.String: "text", pl.Int32: "integer", pl.Float64: "number", pl.Boolean: "yes/no"}


def render(tables: Sequence[Table]) -> str:
    """The tables as Markdown between the two markers, in the order given.

    A change of path, key, column, dtype, null or meaning changes the text; nothing else does.
    """
    return "\n\n".join([BEGIN, *(_table(table) for table in tables), END])


def replaced(page: str, tables: Sequence[Table]) -> str:
    """The page with its rendered part made anew, the hand-written rest as it was.

    Raises:
        ArtifactError: the page does not hold both markers once, in their order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ArtifactError(PAGE, "the markers are not there once each", expected=f"{BEGIN} ... {END}")
    before, rest = page.split(BEGIN)
    return before + render(tables) + rest.split(END)[1]


def kind(dtype: pl.DataType) -> str:
    """A dtype in a reader's words.

    >>> kind(pl.List(pl.Struct({"role": pl.String(), "text": pl.String()})))
    'list of {role: text, text: text}'
    """
    if isinstance(dtype, pl.List):
        return f"list of {kind(_instance(dtype.inner))}"
    if isinstance(dtype, pl.Struct):
        return "{" + ", ".join(f"{field.name}: {kind(_instance(field.dtype))}" for field in dtype.fields) + "}"
    return _KINDS[type(dtype)]


def _instance(dtype: object) -> pl.DataType:
    # Polars gives inner types as they were declared: an instance, or its class.
    found = dtype() if isinstance(dtype, type) else dtype
    assert isinstance(found, pl.DataType)
    return found


def _table(table: Table) -> str:
    lines = [
        f"### `{table.path}`",
        "",
        f"{table.meaning}. Written by `{table.stage}`; key: {', '.join(f'`{name}`' for name in table.key)}.",
        "",
        "| column | type | null | meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_column(column) for column in table.columns)])


def _column(column: Column) -> str:
    values = "" if column.values is None else f"; one of {', '.join(f'`{value}`' for value in column.values)}"
    meaning = (column.meaning + values).replace("|", "\\|")  # a bar inside a cell would start the next one
    return f"| `{column.name}` | {kind(column.dtype)} | {'yes' if column.nullable else 'no'} | {meaning} |"


def main(root: Path) -> None:
    """Write the rendered part of data/README.md anew."""
    path = root / PAGE
    write_text(path, replaced(path.read_text(encoding="utf-8"), TABLES))


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2])

"""One row through all stages, side by side in the order of the flow. It prints texts: they are harmful by purpose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cai.artifacts.cleaned import CLEANED, DROPPED, EDITS
from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.preference import EXCLUDED, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.errors import ArtifactError
from cai.reporting.edits import SEEN
from cai.reporting.inputs import MODELS, Inputs

if TYPE_CHECKING:
    from rich.console import Group

FLOW = (
    EVALUATION_PROMPTS,
    PROMPTS,
    RESPONSES,
    CRITIQUES,
    REVISIONS,
    EDITS,
    DROPPED,
    CLEANED,
    SAMPLES,
    VERDICTS,
    PREFERENCES,
    EXCLUDED,
    *(ANSWERS.of(model) for model in MODELS),
)
HIDDEN = frozenset({"prompt_id", "turns", "token_ids", "prompt_tokens", "reference"})


def row_through_stages(root: Path, prompt_id: str) -> Group:
    """Every row of one prompt, a panel an artifact.

    Args:
        root: the project's root.
        prompt_id: an id, or as many of its first digits as name one prompt.

    Raises:
        ArtifactError: no prompt, or more than one, has such an id.
    """
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    inputs = Inputs(root)
    frames = [(table, frame) for table in FLOW if (frame := inputs.table(table)) is not None]
    chosen = _chosen(frames, prompt_id)
    panels: list[Any] = []
    told = ""
    for table, frame in frames:
        for row in frame.filter(pl.col("prompt_id") == chosen).sort(table.key).iter_rows(named=True):
            text = Text()
            for name, value in row.items():
                if name in HIDDEN or value is None or (name == "prompt" and value == told):
                    continue
                told = value if name == "prompt" else told
                text.append(f"{name}: ", style="bold")
                text.append(f"{value}\n".translate(SEEN))
            key = " ".join(f"{name} {row[name]}" for name in table.key if name != "prompt_id")
            panels.append(Panel(text, title=f"{table.stage} {key}".strip(), title_align="left"))
    return Group(Text(f"prompt {chosen}", style="bold"), *panels)


def _chosen(frames: list[tuple[Any, pl.DataFrame]], prompt_id: str) -> str:
    fitting = sorted(
        {
            str(found)
            for _, frame in frames
            for found in frame.filter(pl.col("prompt_id").str.starts_with(prompt_id))["prompt_id"].unique()
        }
    )
    if len(fitting) == 1:
        return fitting[0]
    raise ArtifactError(
        "prompt_id",
        "names no row" if not fitting else "names more than one row",
        got=f"{prompt_id!r}" + (f": {', '.join(fitting[:5])}" if fitting else ""),
        expected="an id, or enough of its first digits",
        next_step='run "cai results", or look into metrics/gates for the ids of the worst rows',
    )

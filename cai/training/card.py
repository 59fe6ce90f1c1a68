"""The model card in a trained model's folder: what it is made of, by content; no dates, hosts or foreign paths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.artifacts.table import write_text
from cai.llm.wheel import file_sha256
from cai.training.tuning import TrainingSummary, Tuning

PURPOSE = {
    "instruct": "The base model tuned on instructions: the baseline; it writes responses, critiques and revisions.",
    "sft": "Supervised Constitutional AI: tuned on its own cleaned revisions.",
    "dpo": "Constitutional AI by direct preference optimization: tuned on a judge's preferences between two answers.",
}


def write_card(out: Path, data: Sequence[Path], root: Path, params: Tuning, summary: TrainingSummary) -> None:
    """Nothing; ``out``/README.md says purpose, chain, data with sha256 and rows, parameters, and limits.

    Args:
        out: the model's folder, with its chain.json.
        data: the artifacts that it was trained on.
        root: the project; artifacts are named relative to it.
        params: every parameter of the training.
        summary: what the training reported.
    """
    chain: Mapping[str, Any] = json.loads((out / "chain.json").read_text(encoding="utf-8"))
    base = ", ".join(f"{key} `{value}`" for key, value in chain["base"].items() if key != "path")
    lines = [
        f"# {summary.name}",
        "",
        PURPOSE.get(summary.name, ""),
        "",
        "Research artifact: it was made to measure training on self-written data. Its prompts are harmful by purpose, "
        "and nobody has approved it for use.",
        "",
        "## Chain",
        "",
        f"- base: {base}",
        *(f"- {layer['name']}: `{layer['sha256']}`" for layer in chain["adapters"]),
        "",
        "Weights are safetensors only; nothing in this folder is run when it is loaded.",
        "",
        "## Data",
        "",
        *(f"- `{path.relative_to(root)}`: sha256 `{file_sha256(path)}`" for path in data),
        f"- rows: {summary.n_rows} trained on, {summary.n_eval_rows} held out for evaluation",
        *(f"- rows left out, {reason}: {n}" for reason, n in sorted(summary.dropped.items())),
        "",
        "Where the rows come from: `metrics/fetch.json`; what was checked: `metrics/gates/`, at the same commit.",
        "",
        "## Training",
        "",
        *(f"- {key}: {json.dumps(value)}" for key, value in params.model_dump().items()),
    ]
    if summary.stopped_because is not None:
        lines.append(
            f"\nThe collapse guard ended the run at step {summary.stopped_at_step} ({summary.stopped_because}); "
            f"kept: step {summary.kept_step}."
        )
    write_text(out / "README.md", "\n".join(lines) + "\n")

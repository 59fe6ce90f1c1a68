"""What a training stage is told, and what it reports. No torch here: params.yaml is checked without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import Field

from cai.params import Precision, Section


class Limits(Section):
    """When the collapse guard looks, and what it does not let pass."""

    every_steps: int = Field(ge=0)
    """0: it never looks."""
    n_prompts: int = Field(ge=1)
    """Prompts of the rows held out for evaluation, the first ones by id."""
    max_new_tokens: int = Field(ge=1)
    max: dict[str, float | None]
    """Measure → the largest value that is still good; null: only the curve is written."""


class Tuning(Section):
    """The parameters that every training stage has."""

    adapter: Literal["lora", "none"]
    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    last_layers: int | None = Field(ge=1)
    """Adapt only so many layers from the top; None: all of them."""
    learning_rate: float = Field(gt=0)
    schedule: Literal["linear", "cosine", "constant"]
    warmup_share: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulation_steps: int = Field(ge=1)
    max_length: int = Field(ge=8)
    eos_on_cut_rows: Literal["drop", "mask", "teach"]
    precision: Precision
    activation_checkpointing: bool
    seed: int
    save_every_steps: int = Field(ge=1)
    eval_every_steps: int = Field(ge=0)
    """0: before the first step and after the last one."""
    guard: Limits


class SftTuning(Tuning):
    """The parameters of supervised fine-tuning."""


class DpoTuning(Tuning):
    """The parameters of preference training."""

    loss: Literal["sigmoid", "ipo", "robust", "sigmoid_norm"]
    beta: float = Field(gt=0)
    soft_labels: bool
    """Weigh both readings of a pair by the judge's probability; False: the chosen one is right with certainty."""
    label_smoothing: float = Field(ge=0, lt=0.5)
    """Share of flipped labels that the loss "robust" assumes; must be 0 for the others."""
    sft_weight: float = Field(ge=0)
    """Weight of the supervised loss on the chosen completions; 0: none."""


@dataclass(frozen=True)
class TrainingSummary:
    """Facts of a training run; no times, so that equal runs give equal summaries."""

    name: str
    n_rows: int
    n_eval_rows: int
    dropped: Mapping[str, int]
    dropped_rows: tuple[tuple[str, str], ...]
    """(id, reason) of every row left out, train and eval."""
    n_steps: int
    loss_first: float
    """Training loss of the first step."""
    loss_last: float
    """Mean training loss of the last quarter of the steps."""
    eval_loss_before: float | None
    eval_loss: float | None
    labels_with_stop_share: float
    """Share of trained completions whose labels end with the end-of-turn token."""
    n_uncut_without_stop: int
    """Trained completions that were not cut at the token budget and whose labels lack that token: 0, or a fault."""
    mean_tokens: float
    """Tokens of a row, prompt and completion (DPO: both completions)."""
    mean_completion_tokens: float
    n_trained_parameters: int
    adapter_sha256: str
    """Of adapter_model.safetensors, or of all weight files where the adapter is "none"."""
    stopped_at_step: int | None = None
    """The step at which the collapse guard ended the run."""
    stopped_because: str | None = None
    kept_step: int | None = None
    """The step whose weights were kept when the guard ended the run."""
    final: Mapping[str, float] = field(default_factory=dict)
    """The last row of the evaluation curve, by column."""

    def metrics(self) -> dict[str, Any]:
        """The summary as numbers for metrics/<stage>.json: without row ids and without nulls."""
        facts = asdict(self)
        del facts["dropped_rows"], facts["name"]
        return {key: value for key, value in facts.items() if value is not None and value != {}}

"""Forward passes: prompts are read, then one token a row at a time; `opened` chooses who computes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Rows(Protocol):
    """Prompts that were read, and the tokens drawn since."""

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (rows, vocabulary), float32, after ``tokens`` (rows,), which are added to the rows."""

    def keep(self, rows: Sequence[int]) -> None:
        """Only ``rows``, rising places among the present ones, go on."""


class Engine(Protocol):
    """A model whose weights are open."""

    def read(self, rows: Sequence[tuple[int, ...]], shared: int, room: int | None) -> tuple[Rows | None, Tensor]:
        """What the model holds of ``rows``, and the logits (rows, vocabulary), float32, of the token after each.

        ``shared``: how many tokens all rows begin with; less than any row has. ``room``: how many more a row may get;
        None: nothing is held.
        """

    def exactly(self) -> AbstractContextManager[None]:
        """The output layer in float32 inside the block, whatever the precision.

        A bfloat16 logit near 16 has steps of 1/8: two orders of a comparison then often tie to the bit, and a soft
        label is no softer than that step. The layer is read for one position a row, so exactness costs next to nothing.
        """


def opened(folder: Path, dtype: torch.dtype, device: str) -> Engine:
    """The model of a folder of safetensors on ``device`` ("cpu" or "cuda"). Raises what its libraries raise."""
    from cai.llm.inference import llama

    config = llama.reads(folder) if device == "cpu" else None
    if config is not None:
        return llama.Llama(folder, config, dtype)
    from cai.llm.inference.cached import Cached

    return Cached(folder, dtype, device)

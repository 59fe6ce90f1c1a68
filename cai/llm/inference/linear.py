"""Matrix products with weights laid out once, as oneDNN's kernels want them.

A plain product lays every weight out anew, which at fifty rows costs as much as the product itself. The ops are those
that torch's own compiler puts in. Measured in EXPERIMENTS.md (2026-11-26, padding and packing).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# The number of rows that the layout is chosen for. It computes any other, and lost nothing at 10 or 1,024.
_ROWS = 64

Linear = Callable[["Tensor"], "Tensor"]
Added = Callable[["Tensor", "Tensor"], "Tensor"]


def packed(weight: Tensor) -> tuple[Linear, Added]:
    """The products x W' and x W' + y, those of plain layers up to rounding.

    Plain ones where torch has no oneDNN, or the CPU no kernel for these weights (bf16 on an old one).
    """
    import torch

    ops = torch.ops.mkldnn
    try:
        laid_out = ops._reorder_linear_weight(weight, _ROWS)
        ops._linear_pointwise(weight[:1], laid_out, None, "none", [], "")
    except (RuntimeError, AttributeError):
        return lambda x: torch.nn.functional.linear(x, weight), lambda x, y: torch.nn.functional.linear(x, weight) + y
    return (
        lambda x: ops._linear_pointwise(x, laid_out, None, "none", [], ""),
        lambda x, y: ops._linear_pointwise.binary(x, y, laid_out, None, "add"),
    )

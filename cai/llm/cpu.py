"""A model on a CPU: weights laid out once as its matrix kernels want them, attention that reads only what there is.

A batch's cache is as wide as its longest row. transformers' attention reads all of it: with one prompt of 400 tokens
among fifty of 50, four times what there is. Here rows of nearly the same length are read together, from where their own
tokens begin, and a common beginning (demonstrations, a judge's instruction) is one matrix product for all rows.
`use` hangs it into a model whose attention is torch's own; `reading` says what the cache holds. Outside of `reading`,
and for more than one new token, it is transformers' function.

`pack` spares oneDNN to lay out every weight anew in every step, which at fifty rows costs as much as the products.
Both are measured in EXPERIMENTS.md (2026-11-26, padding and packing).
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_NAME = "cai_ragged"
# Packed weights stand beside the plain ones: models above this size keep to one copy.
_PACKED_BYTES = 2**31
# The number of rows that the layout is chosen for. It computes any other, and lost nothing at 10 or 1,024.
_PACKED_ROWS = 64
# What one more group costs, in tokens of one row that could be read instead: a handful of calls of torch.
_GROUP_TOKENS = 256


@dataclass(frozen=True)
class Held:
    """What a cache holds: ``shared`` columns that are the same in every row, and groups (first row, end, first column).

    The columns from a group's first one on hold all own tokens of its rows, and little else.
    """

    shared: int
    groups: tuple[tuple[int, int, int], ...]


class _Now(threading.local):
    held: Held | None = None


_NOW = _Now()


def held(shared: int, starts: Sequence[int], n_columns: int) -> Held:
    """The cheapest cut of rows into groups. ``starts``: where the own tokens of each row begin, of ``n_columns``.

    >>> held(0, [90, 90, 10], 100).groups
    ((0, 3, 10),)
    >>> held(0, [990, 990, 10], 1000).groups
    ((0, 2, 990), (2, 3, 10))
    """
    best = [0.0] + [math.inf] * len(starts)
    cut = [0] * (len(starts) + 1)
    for end in range(1, len(starts) + 1):
        first = n_columns
        for start in range(end - 1, -1, -1):
            first = min(first, starts[start])
            cost = best[start] + _GROUP_TOKENS + (end - start) * (n_columns - first)
            if cost < best[end]:
                best[end], cut[end] = cost, start
    groups = []
    end = len(starts)
    while end:
        groups.append((cut[end], end, min(starts[cut[end] : end])))
        end = cut[end]
    return Held(shared, tuple(reversed(groups)))


@contextlib.contextmanager
def reading(what: Held | None) -> Iterator[None]:
    """In this thread and block, the cache holds ``what``; None: nothing is known of it."""
    before, _NOW.held = _NOW.held, what
    try:
        yield
    finally:
        _NOW.held = before


def pack(model: Any) -> int:
    """Give linear layers packed weights; how many have them now.

    None where torch has no oneDNN, the CPU no kernel for these weights (bf16 on an old one), or the model is large. The
    results are those of the plain layer up to rounding. The ops are those that torch's own compiler puts in.
    """
    import torch

    ops = torch.ops.mkldnn
    layers = [module for module in model.modules() if type(module) is torch.nn.Linear]
    n_bytes = sum(layer.weight.nbytes for layer in layers)
    if not (torch.backends.mkldnn.is_available() and hasattr(ops, "_linear_pointwise")) or n_bytes > _PACKED_BYTES:
        return 0
    try:
        weights = [ops._reorder_linear_weight(layer.weight.detach(), _PACKED_ROWS) for layer in layers]
    except RuntimeError:
        return 0
    for layer, packed in zip(layers, weights, strict=True):
        bias = None if layer.bias is None else layer.bias.detach()
        layer.forward = lambda x, packed=packed, bias=bias: ops._linear_pointwise(x, packed, bias, "none", [], "")
    return len(layers)


def use(model: Any) -> bool:
    """Whether the model's attention is now the one of this module; others than torch's own stay as they are."""
    if model.config._attn_implementation == "sdpa":
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(_NAME, _attend)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)
    return bool(model.config._attn_implementation == _NAME)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' interface: (rows, heads, 1, width) queries give (rows, 1, heads, width)."""
    import torch

    what = _NOW.held
    if what is None or query.shape[2] != 1:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **rest)
    n_rows, n_heads, _, width = query.shape
    n_groups = key.shape[1]
    # The heads that share keys become so many queries: their keys are then read once.
    asked = query.view(n_rows, n_groups, -1, width)
    out = torch.empty_like(asked)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # tells the sum of its weights too, for `common`
    own_sum = query.new_empty(asked.shape[:-1], dtype=torch.float32)
    for start, end, first in what.groups:
        mask = None
        if attention_mask is not None:
            allowed = attention_mask[start:end, :, :, first:]
            mask = query.new_zeros(allowed.shape).masked_fill_(~allowed, -torch.inf).expand(-1, -1, asked.shape[2], -1)
        out[start:end], own_sum[start:end] = flash(
            asked[start:end], key[start:end, :, first:], value[start:end, :, first:], attn_mask=mask, scale=scaling
        )
    if what.shared:
        # One row of all queries, so that keys and values of the common beginning are read once, in matrix products.
        stacked = asked.transpose(0, 1).reshape(1, n_groups, -1, width)
        common, common_sum = flash(stacked, key[:1, :, : what.shared], value[:1, :, : what.shared], scale=scaling)
        common = common.view(n_groups, n_rows, -1, width).transpose(0, 1)
        common_sum = common_sum.view(n_groups, n_rows, -1).transpose(0, 1)
        out += torch.sigmoid(common_sum - own_sum)[..., None].to(out.dtype) * (common - out)
    return out.view(n_rows, 1, n_heads, width), None

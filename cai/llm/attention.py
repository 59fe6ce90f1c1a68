"""Attention of one new token a row that reads what each row holds, and what all rows share once.

A batch's cache is as wide as its longest row. transformers' attention reads all of it: with one prompt of 400 tokens
among fifty of 50, four times what there is. Here rows of nearly the same length are read together, from where their own
tokens begin, and a common beginning (demonstrations, a judge's instruction) is one matrix product for all rows.

`use` hangs it into a model whose attention is torch's own, on a CPU; `reading` says what the cache holds. Outside of
`reading`, and for more than one new token, it is transformers' function.
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
    scaled = (query * (width**-0.5 if scaling is None else scaling)).view(n_rows, n_groups, -1, width)
    common: torch.Tensor | None = None
    if what.shared:
        # (groups, rows x heads of a group, shared): one matrix product instead of one of vectors a row
        stacked = scaled.transpose(0, 1).reshape(n_groups, -1, width)
        common = (stacked @ key[0, :, : what.shared].transpose(-1, -2)).view(n_groups, n_rows, -1, what.shared)
        common = common.transpose(0, 1)
    out = torch.empty_like(scaled)
    weights = scaled.new_empty((n_rows, n_groups, n_heads // n_groups, what.shared)) if what.shared else None
    for start, end, first in what.groups:
        own = scaled[start:end] @ key[start:end, :, first:].transpose(-1, -2)
        if attention_mask is not None:
            own.masked_fill_(~attention_mask[start:end, :, :, first:], -torch.inf)
        if common is None or weights is None:
            out[start:end] = torch.softmax(own.float(), -1).to(value.dtype) @ value[start:end, :, first:]
            continue
        both = torch.softmax(torch.cat([common[start:end], own], -1).float(), -1).to(value.dtype)
        weights[start:end] = both[..., : what.shared]
        out[start:end] = both[..., what.shared :] @ value[start:end, :, first:]
    if weights is not None:
        stacked = weights.transpose(0, 1).reshape(n_groups, -1, what.shared)
        out += (stacked @ value[0, :, : what.shared]).view(n_groups, n_rows, -1, width).transpose(0, 1)
    return out.view(n_rows, 1, n_heads, width), None

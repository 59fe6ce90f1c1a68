"""Packed weights and attention over what each row holds give what plain ones give."""

from __future__ import annotations

import types
from typing import Any

import pytest

from cai.llm import cpu
from cai.llm.cpu import Held, held, pack, reading


def _cache(shared: int, lengths: list[int], seed: int, dtype: Any) -> tuple[Any, Any, Any, Any]:
    """Query, keys, values and mask of rows of these own lengths: 6 heads in 2 groups, as `hf` lays them out."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    n_rows, n_columns = len(lengths), shared + max(lengths)
    query = torch.randn((n_rows, 6, 1, 16), generator=draw).to(dtype)
    # A buffer with room behind, so that the strides are those of the growing cache.
    keys, values = (torch.randn((n_rows, 2, n_columns + 9, 16), generator=draw).to(dtype) for _ in range(2))
    for buffer in (keys, values):
        buffer[:, :, :shared] = buffer[:1, :, :shared].clone()
    columns = torch.arange(n_columns)[None]
    mask = (columns < shared) | (columns >= n_columns - torch.tensor(lengths)[:, None])
    return query, keys[:, :, :n_columns], values[:, :, :n_columns], mask[:, None, None]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("shared", [0, 5])
@pytest.mark.parametrize("lengths", [[3, 4, 4, 900], [7] * 5, [12], [1, 300, 301, 302]])
def test_it_equals_transformers_function(lengths: list[int], shared: int, precision: str) -> None:
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    query, keys, values, mask = _cache(shared, lengths, seed=len(lengths), dtype=getattr(torch, precision))
    module = types.SimpleNamespace(num_key_value_groups=3, is_causal=True)
    n_columns = keys.shape[-2]
    what = held(shared, [n_columns - length for length in lengths], n_columns)
    expected, _ = sdpa_attention_forward(module, query.float(), keys.float(), values.float(), mask, scaling=0.3)
    with reading(what):
        found, _ = cpu._attend(module, query, keys, values, mask, scaling=0.3)
    assert found.dtype == query.dtype
    torch.testing.assert_close(
        found.float(), expected, **({"rtol": 0.05, "atol": 0.02} if precision != "float32" else {})
    )
    # What the groups leave out is not read: other values there change nothing.
    for start, end, first in what.groups:
        keys[start:end, :, shared:first] = torch.nan
        values[start:end, :, shared:first] = torch.nan
    keys[1:, :, :shared] = torch.nan
    with reading(what):
        again, _ = cpu._attend(module, query, keys, values, mask, scaling=0.3)
    torch.testing.assert_close(again, found, rtol=0, atol=0)


def test_rows_of_one_length_are_one_group_and_a_long_one_stands_alone() -> None:
    assert held(0, [95] * 40, 100) == Held(0, ((0, 40, 95),))
    assert held(7, [595] * 40 + [10], 600) == Held(7, ((0, 40, 595), (40, 41, 10)))
    # Rows in any order: a group's first column is that of its longest row.
    assert held(0, [10, 90, 80], 100).groups == ((0, 3, 10),)


def test_outside_of_its_block_and_in_other_threads_nothing_is_known() -> None:
    import threading

    seen: list[Held | None] = []
    with reading(Held(0, ((0, 1, 0),))):
        thread = threading.Thread(target=lambda: seen.append(cpu._NOW.held))
        thread.start()
        thread.join()
    assert [*seen, cpu._NOW.held] == [None, None]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_packed_layers_compute_what_plain_ones_do(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import copy

    import torch

    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(48, 96), torch.nn.ReLU(), torch.nn.Linear(96, 32, bias=False))
    plain = plain.to(getattr(torch, precision))
    packed = copy.deepcopy(plain)
    with torch.inference_mode():
        n_packed = pack(packed)
        if precision == "bfloat16" and not n_packed:
            pytest.skip("no bf16 kernels on this CPU")
        assert n_packed == 2
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "float32" else {"rtol": 0.05, "atol": 0.02}
        for shape in ((1, 48), (7, 1, 48), (2, 300, 48)):
            x = torch.randn(shape, dtype=getattr(torch, precision))
            torch.testing.assert_close(packed(x), plain(x), **tolerance)
        # The plain weights are not read any more: what is computed comes from the packed ones.
        expected = packed(x).clone()
        packed[0].weight.zero_()
        torch.testing.assert_close(packed(x), expected, rtol=0, atol=0)
    monkeypatch.setattr(cpu, "_PACKED_BYTES", 10)
    assert pack(copy.deepcopy(plain)) == 0

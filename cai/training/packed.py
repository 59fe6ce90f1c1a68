"""A padded batch as one sequence without padding, in which what several rows begin with stands once.

Rows of a batch share the system turn, and the two completions of a pair share their whole prompt: computed once, they
cost once (SmolLM2's default pairs: 157 tokens in place of 263). Every token still sees exactly the tokens before it
in its own row, at its own position, so hidden states and gradients are those of the padded batch up to the rounding
of sums in another order.

For a CPU and models of the Llama architecture; cai.training.cpu decides where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

ARCHITECTURES = ("llama",)
"""config.model_type of models whose layers hand ``packed`` on to their attention and read positions from
``position_ids`` alone (tested)."""

_NAME = "cai_packed"


@dataclass(frozen=True)
class Packed:
    """Where each token of a batch of [rows, width] stands among the ``n`` tokens that are computed.

    Attributes:
        ids: [1, n] token ids.
        positions: [1, n] position of each token in its row.
        places: [rows, width] index into the ``n`` tokens of each token of the batch; 0 where the batch is padded.
        own: for each row, the span of the ``n`` tokens that no row before it has: (start, end).
        before: for each row, the [shared] indices of what it begins with and a row before it has already.
    """

    ids: Tensor
    positions: Tensor
    places: Tensor
    own: tuple[tuple[int, int], ...]
    before: tuple[Tensor, ...]


def pack(input_ids: Tensor, attention_mask: Tensor | None) -> Packed:
    """The plan for a batch that is padded on the right.

    Args:
        input_ids: [rows, width].
        attention_mask: [rows, width], 1 for tokens and 0 for padding; None: no padding.

    Raises:
        ValueError: padding stands before a token.
    """
    n_rows, width = input_ids.shape
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    lengths: list[int] = mask.sum(1).tolist()
    if not torch.equal(mask.bool(), torch.arange(width) < torch.tensor(lengths).unsqueeze(1)):
        raise ValueError("a batch that is not padded on the right cannot be packed")
    places = torch.zeros_like(input_ids)
    own: list[tuple[int, int]] = []
    before: list[Tensor] = []
    n = 0
    for row, length in enumerate(lengths):
        shared, source = 0, 0
        if row:
            same = (input_ids[:row, :length] == input_ids[row, :length]) & mask[:row, :length].bool()
            common = same.long().cumprod(1).sum(1)
            source = int(common.argmax())
            shared = int(common[source])
        places[row, :shared] = places[source, :shared]
        end = n + length - shared
        places[row, shared:length] = torch.arange(n, end)
        own.append((n, end))
        before.append(places[row, :shared])
        n = end
    starts = [len(one) for one in before]
    rows = range(n_rows)
    ids = torch.cat([input_ids[row, starts[row] : lengths[row]] for row in rows]).unsqueeze(0)
    positions = torch.cat([torch.arange(starts[row], lengths[row]) for row in rows]).unsqueeze(0)
    return Packed(ids, positions, places, tuple(own), tuple(before))


class _Attention(torch.autograd.Function):
    """Causal attention of each row's own tokens over all tokens of the row; heads of a group share keys and values.

    Keeps the probabilities for backward and nothing else of that size; needs no mask, padding or repeated keys.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, packed: Packed, scaling: float) -> Tensor:
        heads, n, size = query.shape
        groups = key.shape[0]
        out = query.new_empty(heads, n, size)
        kept: list[Tensor] = []
        for (start, end), before in zip(packed.own, packed.before, strict=True):
            if start == end:
                kept.append(query.new_empty(0))
                continue
            q = query[:, start:end].reshape(groups, -1, size)
            keys, values = _row(key, start, end, before), _row(value, start, end, before)
            scores = torch.bmm(q, keys.transpose(1, 2)).mul_(scaling).view(heads, end - start, -1)
            future = torch.ones(end - start, end - start, dtype=torch.bool).triu_(1)
            scores[:, :, len(before) :].masked_fill_(future, float("-inf"))
            probs = scores.softmax(-1).view(groups, -1, keys.shape[1])
            out[:, start:end] = torch.bmm(probs, values).view(heads, end - start, size)
            kept.append(probs)
        if any(ctx.needs_input_grad[:3]):
            ctx.save_for_backward(query, key, value, *kept)
        ctx.packed, ctx.scaling = packed, scaling
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, *kept = ctx.saved_tensors
        heads, _, size = query.shape
        groups = key.shape[0]
        grad_q, grad_k, grad_v = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for (start, end), before, probs in zip(ctx.packed.own, ctx.packed.before, kept, strict=True):
            if start == end:
                continue
            keys, values = _row(key, start, end, before), _row(value, start, end, before)
            g = grad[:, start:end].reshape(groups, -1, size)
            to_values = torch.bmm(probs.transpose(1, 2), g)
            slopes = torch.bmm(g, values.transpose(1, 2)).mul_(probs)
            slopes.sub_(probs * slopes.sum(-1, keepdim=True)).mul_(ctx.scaling)
            grad_q[:, start:end] = torch.bmm(slopes, keys).view(heads, end - start, size)
            q = query[:, start:end].reshape(groups, -1, size)
            to_keys = torch.bmm(slopes.transpose(1, 2), q)
            shared = len(before)
            for total, part in ((grad_k, to_keys), (grad_v, to_values)):
                total[:, start:end] += part[:, shared:]
                if shared:
                    total.index_add_(1, before, part[:, :shared])
        return grad_q, grad_k, grad_v, None, None


def _row(states: Tensor, start: int, end: int, before: Tensor) -> Tensor:
    mine = states[:, start:end]
    return torch.cat((states[:, before], mine), dim=1) if len(before) else mine.contiguous()


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, *, scaling: float, **kwargs: Any
) -> tuple[Tensor, None]:
    packed: Packed = kwargs["packed"]
    out: Any = _Attention.apply(query[0], key[0], value[0], packed, scaling)
    return out.transpose(0, 1).unsqueeze(0), None


AttentionInterface.register(_NAME, _attention)


@contextmanager
def _attending(model: Any) -> Iterator[None]:
    config = model.config.get_text_config()
    usual = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = usual


class PackedStates:
    """Last hidden states of a batch, without padding; what the frozen layers below gave is not computed twice.

    Layers below the lowest trained one give the same for the policy and for its reference, and for an evaluation batch
    before and after training. Call it with the inner model (LlamaModel), whose lower layers must not change meanwhile.
    """

    _MOST_TOKENS_KEPT = 16_384

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.n_frozen = _n_frozen(inner.layers)
        self._kept: dict[bytes, Tensor] = {}

    def __call__(self, input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """[n, width of the model] hidden states, and [rows, width of the batch] where each token's stands."""
        packed = pack(input_ids, attention_mask)
        with _attending(self.inner):
            if not self.n_frozen:
                return self._run(packed, input_ids=packed.ids), packed.places
            key = packed.ids.numpy().tobytes() + packed.positions.numpy().tobytes()
            if key not in self._kept:
                while self._kept and sum(map(len, self._kept.values())) > self._MOST_TOKENS_KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[key] = self._below(packed)
            return self._above(packed, self._kept[key]), packed.places

    def _run(self, packed: Packed, **inputs: Any) -> Tensor:
        found = self.inner(**inputs, position_ids=packed.positions, use_cache=False, packed=packed)
        states: Tensor = found.last_hidden_state[0]
        return states

    def _below(self, packed: Packed) -> Tensor:
        """[n, width] what goes into the lowest trained layer."""
        lower = self.inner.layers[: self.n_frozen]
        with torch.no_grad(), _replaced(self.inner, layers=lower, norm=torch.nn.Identity()):
            return self._run(packed, input_ids=packed.ids)

    def _above(self, packed: Packed, states: Tensor) -> Tensor:
        with _replaced(self.inner, layers=self.inner.layers[self.n_frozen :]):
            return self._run(packed, inputs_embeds=states.unsqueeze(0))


@contextmanager
def _replaced(module: Any, **parts: Any) -> Iterator[None]:
    usual = {name: getattr(module, name) for name in parts}
    for name, part in parts.items():
        setattr(module, name, part)
    try:
        yield
    finally:
        for name, part in usual.items():
            setattr(module, name, part)


def _n_frozen(layers: Sequence[Any]) -> int:
    """How many layers from the bottom have no trained parameter."""
    for place, layer in enumerate(layers):
        if any(parameter.requires_grad for parameter in layer.parameters()):
            return place
    return 0

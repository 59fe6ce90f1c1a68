"""A Llama on a CPU, written out: SmolLM2, Llama 2 and 3 and what else has their layers.

transformers' own class computes the same; it is what `cached` uses for every other model and on a GPU. Here

* weights are laid out once as oneDNN's matrix kernels want them, the three projections of attention and the two of the
  gated layer as one matrix each, and the two halves of a rotated pair side by side, so that a rotation is one product;
* prompts are read without any padding, one after the other in one matrix, with their common beginning (demonstrations,
  a judge's instruction) read once;
* the cache holds rows of nearly the same length together, so that a step reads what a row holds and not the padding of
  the longest, and the common beginning is one matrix product for all rows;
* transformers' modelling code, three seconds of imports, stays closed.

Measured in EXPERIMENTS.md (2026-11-26, a Llama written out).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.llm.inference.linear import Added, Linear, packed

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Tokens of prompts in one pass: matrices large enough to be fast, and still near a CPU's caches.
_PASS_TOKENS = 1024
# What one more group costs, in tokens of one row that could be read instead: a handful of calls of torch.
_GROUP_TOKENS = 256


def groups(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """The cheapest cut of rows of rising ``lengths`` into groups (start, end), each as wide as its last row.

    >>> groups([10, 10, 90])
    [(0, 3)]
    >>> groups([10, 10, 990])
    [(0, 2), (2, 3)]
    """
    best = [0.0] + [math.inf] * len(lengths)
    cut = [0] * (len(lengths) + 1)
    for end in range(1, len(lengths) + 1):
        for start in range(end):
            cost = best[start] + _GROUP_TOKENS + (end - start) * lengths[end - 1]
            if cost < best[end]:
                best[end], cut[end] = cost, start
    found = []
    end = len(lengths)
    while end:
        found.append((cut[end], end))
        end = cut[end]
    return found[::-1]


class Llama:
    """The weights of one folder, ready to read prompts."""

    def __init__(self, folder: Path, config: dict[str, Any], dtype: torch.dtype) -> None:
        import torch

        self.dtype = dtype
        n_heads, n_kept = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
        self.width = int(config.get("head_dim") or config["hidden_size"] // n_heads)
        self.n_heads, self.n_kept = n_heads, n_kept
        self.epsilon = float(config["rms_norm_eps"])
        self.scale = self.width**-0.5
        powers = torch.arange(0, self.width, 2, dtype=torch.int64).float() / self.width
        self.frequencies = 1.0 / (_rope(config)[1] ** powers)
        weight = _tensors(folder)

        def read(name: str) -> Tensor:
            return weight(name).to(dtype)

        self.embedding = read("model.embed_tokens.weight")
        self.layers = [self._layer(read, f"model.layers.{i}.") for i in range(int(config["num_hidden_layers"]))]
        self.last_norm = read("model.norm.weight")
        self._head_weight = self.embedding if config.get("tie_word_embeddings") else read("lm_head.weight")
        self.head, _ = packed(self._head_weight)
        self._exact_head: Tensor | None = None

    def _layer(self, read: Callable[[str], Tensor], at: str) -> _Layer:
        import torch

        query, key = (self._paired(read(f"{at}self_attn.{name}_proj.weight")) for name in "qk")
        gate, up = (read(f"{at}mlp.{name}_proj.weight") for name in ("gate", "up"))
        attention, _ = packed(torch.cat([query, key, read(f"{at}self_attn.v_proj.weight")]))
        _, out = packed(read(f"{at}self_attn.o_proj.weight"))
        gated, _ = packed(torch.cat([gate, up]))
        _, down = packed(read(f"{at}mlp.down_proj.weight"))
        before, after = (read(f"{at}{name}_layernorm.weight") for name in ("input", "post_attention"))
        return _Layer(before, after, attention, out, gated, down)

    def _paired(self, weight: Tensor) -> Tensor:
        """The rows of each head so that what is rotated together, i and i + width/2, lies side by side."""
        heads = weight.view(-1, 2, self.width // 2, weight.shape[-1])
        return heads.transpose(1, 2).reshape(weight.shape)

    def read(self, rows: Sequence[tuple[int, ...]], shared: int, room: int | None) -> tuple[Rows | None, Tensor]:
        """What the model holds of ``rows``, and the logits (rows, vocabulary), float32, of the token after each.

        ``shared``: how many tokens all rows begin with; less than any row has. ``room``: how many more a row may get;
        None: nothing is held.
        """
        import torch

        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), rows[i]))
        unique = [ids for ids, _ in itertools.groupby(rows[i] for i in order)]
        lengths = [len(ids) - shared for ids in unique]
        beginning = self._read_beginning(unique[0][:shared]) if shared else None
        holding = None if room is None else _Holding(self, unique, shared, room)
        last: list[Tensor] = []
        for start, end in _passes(lengths, _PASS_TOKENS):
            tokens = torch.tensor([token for ids in unique[start:end] for token in ids[shared:]])
            places = torch.cat([torch.arange(shared, shared + n) for n in lengths[start:end]])
            ends = list(itertools.accumulate(lengths[start:end]))
            x = self.embedding[tokens]
            turns = self._turns(places)
            at = torch.tensor(ends) - 1
            for depth, layer in enumerate(self.layers):
                query, key, value = self._projected(layer, x, turns)
                keep = None if holding is None else holding.writer(depth, start)
                mixed = self._causal(query, key, value, ends, None if beginning is None else beginning[depth], keep)
                if depth == len(self.layers) - 1:  # of the last layer only what the next token is read from
                    x, mixed = x[at], mixed[at]
                x = self._rest(layer, x, mixed)
            last.append(x)
        logits = self._logits(torch.cat(last))
        places_of = {ids: i for i, ids in enumerate(unique)}
        logits = logits[torch.tensor([places_of[ids] for ids in rows])]
        return (None if holding is None else holding.rows([rows[i] for i in order], order, beginning)), logits

    def _turns(self, places: Tensor) -> Tensor:
        """The rotation of every place as complex numbers, (places, 1, width / 2)."""
        import torch

        angles = places.float()[:, None, None] * self.frequencies
        return torch.polar(torch.ones_like(angles), angles)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.rms_norm(x, x.shape[-1:], weight, self.epsilon)

    def _projected(self, layer: _Layer, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (n, heads, width), keys and values (n, kept heads, width) of ``x`` (n, hidden)."""
        import torch

        whole = layer.attention(self._normed(x, layer.norm))
        turned, value = whole.view(len(x), -1, self.width).split([self.n_heads + self.n_kept, self.n_kept], 1)
        pairs = torch.view_as_complex(turned.float().unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)
        query, key = turned.split([self.n_heads, self.n_kept], 1)
        return query, key, value

    def _rest(self, layer: _Layer, x: Tensor, mixed: Tensor) -> Tensor:
        """The layer's output for its input ``x`` and what attention mixed, (n, hidden)."""
        import torch

        x = layer.out(mixed, x)
        gate, up = layer.gated(self._normed(x, layer.second_norm)).chunk(2, -1)
        return layer.down(torch.nn.functional.silu(gate).mul_(up), x)

    def _logits(self, x: Tensor) -> Tensor:
        import torch

        x = self._normed(x, self.last_norm)
        if self._exact_head is not None:
            return torch.nn.functional.linear(x.float(), self._exact_head)
        return self.head(x).float()

    @contextlib.contextmanager
    def exactly(self) -> Iterator[None]:
        """The output layer in float32 inside the block, whatever the precision."""
        import torch

        if self.dtype != torch.float32:
            self._exact_head = self._head_weight.float()
        try:
            yield
        finally:
            self._exact_head = None

    def _read_beginning(self, ids: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Keys and values (kept heads, tokens, width) of every layer."""
        import torch

        x = self.embedding[torch.tensor(ids)]
        turns = self._turns(torch.arange(len(ids)))
        held = []
        for layer in self.layers:
            query, key, value = self._projected(layer, x, turns)
            held.append((key.transpose(0, 1).contiguous(), value.transpose(0, 1).contiguous()))
            x = self._rest(layer, x, self._causal(query, key, value, [len(ids)], None, None))
        return held

    def _causal(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        ends: Sequence[int],
        beginning: tuple[Tensor, Tensor] | None,
        keep: Callable[[int, Tensor, Tensor], None] | None,
    ) -> Tensor:
        """What every token mixes from the tokens of its row up to itself, and from the beginning; (n, hidden)."""
        import torch

        out = torch.empty_like(query)
        weights = query.new_empty(query.shape[:2], dtype=torch.float32)
        repeat = self.n_heads // self.n_kept
        for row, (start, end) in enumerate(itertools.pairwise([0, *ends])):
            keys, values = key[start:end].transpose(0, 1), value[start:end].transpose(0, 1)
            if keep is not None:
                keep(row, keys, values)
            spread = (
                each[:, None].expand(-1, repeat, -1, -1).reshape(1, self.n_heads, -1, self.width)
                for each in (keys, values)
            )
            mixed, sums = _attention(query[start:end].transpose(0, 1)[None], *spread, causal=True, scale=self.scale)
            out[start:end] = mixed[0].transpose(0, 1)
            weights[start:end] = sums[0].transpose(0, 1)
        if beginning is not None:
            self._add_beginning(out, weights, query, beginning)
        return out.flatten(1)

    def _add_beginning(self, out: Tensor, sums: Tensor, query: Tensor, beginning: tuple[Tensor, Tensor]) -> None:
        """Mix the common beginning into ``out`` (n, heads, width), whose weights sum to exp(``sums``) (n, heads)."""
        import torch

        # One row of all queries, so that keys and values of the beginning are read once, in matrix products.
        stacked = (
            query.view(len(query), self.n_kept, -1, self.width).transpose(0, 1).reshape(1, self.n_kept, -1, self.width)
        )
        mixed, common = _attention(stacked, beginning[0][None], beginning[1][None], scale=self.scale)
        mixed = mixed.view(self.n_kept, len(query), -1, self.width).transpose(0, 1).reshape(out.shape)
        common = common.view(self.n_kept, len(query), -1).transpose(0, 1).reshape(sums.shape)
        out += torch.sigmoid(common - sums)[..., None].to(out.dtype) * (mixed - out)


@dataclass(frozen=True)
class _Layer:
    norm: Tensor
    second_norm: Tensor
    attention: Linear
    out: Added
    gated: Linear
    down: Added


@dataclass
class _Group:
    """Rows of nearly the same length. Their tokens stand to the right of the padding and end in the same column."""

    keys: list[Tensor]  # a layer: (rows, kept heads, columns, width); columns from ``end`` on are free
    values: list[Tensor]
    mask: Tensor | None  # (rows, 1, 1, columns), -inf on padding; None: there is none
    end: int

    def of(self, index: Tensor) -> _Group:
        mask = None if self.mask is None else self.mask[index]
        return _Group([each[index] for each in self.keys], [each[index] for each in self.values], mask, self.end)


class _Holding:
    """Room for the keys and values of prompts that are being read, group by group."""

    def __init__(self, model: Llama, unique: Sequence[tuple[int, ...]], shared: int, room: int) -> None:
        import torch

        self.model, self.unique, self.shared = model, unique, shared
        lengths = [len(ids) - shared for ids in unique]
        self.at: list[tuple[_Group, int]] = []
        for start, end in groups(lengths):
            widest = lengths[end - 1]
            shape = (end - start, model.n_kept, widest + room, model.width)
            # Zeros, for what is masked is still multiplied, by nothing: it must be a number.
            keys, values = ([torch.zeros(shape, dtype=model.dtype) for _ in model.layers] for _ in range(2))
            starts = widest - torch.tensor(lengths[start:end])
            padded = torch.arange(widest + room)[None] < starts[:, None]
            mask = torch.zeros(padded.shape, dtype=model.dtype).masked_fill_(padded, -torch.inf)[:, None, None]
            group = _Group(keys, values, mask if bool(padded.any()) else None, widest)
            self.at += [(group, row) for row in range(end - start)]

    def writer(self, depth: int, first: int) -> Callable[[int, Tensor, Tensor], None]:
        """What writes the keys and values (kept heads, tokens, width) of row ``first`` + its first argument."""

        def write(row: int, keys: Tensor, values: Tensor) -> None:
            group, place = self.at[first + row]
            start = group.end - keys.shape[1]
            group.keys[depth][place, :, start : group.end] = keys
            group.values[depth][place, :, start : group.end] = values

        return write

    def rows(
        self, ordered: Sequence[tuple[int, ...]], order: Sequence[int], beginning: list[tuple[Tensor, Tensor]] | None
    ) -> Rows:
        """The held prompts as rows to go on from; a prompt that several rows share gets a cache for each."""
        import torch

        held: list[_Group] = []
        place = {ids: i for i, ids in enumerate(self.unique)}
        for _, members in itertools.groupby((self.at[place[ids]] for ids in ordered), key=lambda at: id(at[0])):
            found = list(members)
            group, index = found[0][0], [row for _, row in found]
            held.append(group if index == list(range(len(group.keys[0]))) else group.of(torch.tensor(index)))
        return Rows(self.model, held, list(order), torch.tensor([len(ids) for ids in ordered]), beginning)


class Rows:
    """Prompts that were read, and the tokens drawn since; `step` adds one to each."""

    def __init__(
        self,
        model: Llama,
        held: list[_Group],
        order: list[int],
        lengths: Tensor,
        beginning: list[tuple[Tensor, Tensor]] | None,
    ) -> None:
        self._model, self._groups, self._order, self._lengths, self._beginning = model, held, order, lengths, beginning

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (rows, vocabulary), float32, after ``tokens`` (rows,), which are added to the rows."""
        import torch

        model = self._model
        order = torch.tensor(self._order)
        x = model.embedding[tokens[order]]
        turns = model._turns(self._lengths)
        for group in self._groups:
            group.end += 1
        for depth, layer in enumerate(model.layers):
            query, key, value = model._projected(layer, x, turns)
            x = model._rest(layer, x, self._mixed(depth, query, key, value))
        self._lengths = self._lengths + 1
        logits = model._logits(x)
        found = torch.empty_like(logits)
        found[order] = logits
        return found

    def _mixed(self, depth: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        import torch

        model = self._model
        # The heads that share keys become so many queries of one row: their keys are then read once.
        asked = query.view(len(query), model.n_kept, -1, model.width)
        out = torch.empty_like(asked)
        sums = query.new_empty(asked.shape[:-1], dtype=torch.float32)
        start = 0
        for group in self._groups:
            keys, values, column = group.keys[depth], group.values[depth], group.end - 1
            end = start + len(keys)
            keys[:, :, column] = key[start:end]
            values[:, :, column] = value[start:end]
            mask = None if group.mask is None else group.mask[..., : group.end].expand(-1, -1, asked.shape[2], -1)
            out[start:end], sums[start:end] = _attention(
                asked[start:end], keys[:, :, : group.end], values[:, :, : group.end], mask=mask, scale=model.scale
            )
            start = end
        mixed = out.view(query.shape)
        if self._beginning is not None:
            model._add_beginning(mixed, sums.view(query.shape[:2]), query, self._beginning[depth])
        return mixed.flatten(1)

    def keep(self, rows: Sequence[int]) -> None:
        """Only ``rows``, rising places among the present ones, go on."""
        import torch

        new = {row: place for place, row in enumerate(rows)}
        places = [place for place, row in enumerate(self._order) if row in new]
        start, held = 0, []
        for group in self._groups:
            end = start + len(group.keys[0])
            index = [place - start for place in places if start <= place < end]
            if index:
                held.append(group if len(index) == end - start else group.of(torch.tensor(index)))
            start = end
        self._groups, self._lengths = held, self._lengths[torch.tensor(places)]
        self._order = [new[self._order[place]] for place in places]


def _tensors(folder: Path) -> Callable[[str], Tensor]:
    """What reads a tensor of the folder by its name, whichever of the safetensors files it is in."""
    from safetensors import safe_open

    files = [safe_open(file, "pt") for file in sorted(folder.glob("*.safetensors"))]
    where = {name: file for file in files for name in file.keys()}  # noqa: SIM118 - not a mapping
    return lambda name: where[name].get_tensor(name)


def _passes(lengths: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Cuts of rows into (start, end) of at most ``most`` tokens each, or of one row.

    >>> _passes([3, 3, 4, 9], 6)
    [(0, 2), (2, 3), (3, 4)]
    """
    cuts, total = [0], 0
    for place, n in enumerate(lengths):
        if total and total + n > most:
            cuts.append(place)
            total = 0
        total += n
    return list(itertools.pairwise([*cuts, len(lengths)]))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, causal: bool = False, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention (rows, heads, queries, width), and the logarithm of the sum of its weights (rows, heads, queries)."""
    import torch

    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # tells the sum too, torch's public one doesn't
    mixed, sums = flash(query, key, value, is_causal=causal, attn_mask=mask, scale=scale)
    return mixed, sums


def _rope(config: dict[str, Any]) -> tuple[str, float]:
    """Kind and base of the rotation: transformers 5 writes both together, older files the base by itself."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = found.get("rope_type") or found.get("type") or "default"
    return str(kind), float(found.get("rope_theta") or config.get("rope_theta") or 10000.0)


def reads(folder: Path) -> dict[str, Any] | None:
    """The folder's config if `Llama` computes such a model, else None."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    wanted = {"model_type": "llama", "hidden_act": "silu"}
    unknown = ("attention_bias", "mlp_bias", "quantization_config")
    plain = all(config.get(key) == value for key, value in wanted.items()) and not any(map(config.get, unknown))
    return config if plain and _rope(config)[0] == "default" else None

"""Any causal model of transformers, on a GPU or a CPU, with its cache under our hands.

Prompts are read in groups of nearly the same length, each different prompt once and a common beginning once. The cache
holds the common beginning, then padding, then the rest of each row.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.llm.inference.linear import packed
from cai.llm.weights import without_progress_bars

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Prompts are read about so many tokens at a time: matrices large enough to be fast, groups small enough to need little
# padding, and on a CPU nearer to its caches.
_PASS_TOKENS = {"cpu": 1024, "cuda": 32768}
# Packed weights stand beside the plain ones: models above this size keep to one copy.
_PACKED_BYTES = 2**31


class Cached:
    """The model of one folder, ready to read prompts."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        n_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        place: str | None = None
        if device == "cuda":
            free, _ = torch.cuda.mem_get_info()
            # One GPU when the weights leave room for a cache, otherwise layer by layer over all of them.
            place = "auto" if n_bytes > 0.8 * free and torch.cuda.device_count() > 1 else "cuda:0"
        with without_progress_bars():
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, device_map=place, local_files_only=True
            )
        self.model.train(False)
        self.device = self.model.get_input_embeddings().weight.device
        # A cache whose layers are not all of the plain kind cannot be put together from groups.
        plain = all(type(layer) is _growing_layer() for layer in _growing_cache(self.model.config).layers)
        self._pass_tokens = _PASS_TOKENS[device] if plain else None
        if device == "cpu" and n_bytes <= _PACKED_BYTES:
            for layer in self.model.modules():
                if type(layer) is torch.nn.Linear and layer.bias is None:
                    layer.forward = packed(layer.weight.detach())[0]

    def read(self, rows: Sequence[tuple[int, ...]], shared: int, room: int | None) -> tuple[CachedRows | None, Tensor]:
        """As `Llama.read`."""
        import torch

        model = self.model
        unique = sorted(set(rows), key=lambda ids: (len(ids), ids))
        beginning = _growing_cache(model.config) if shared else None
        if shared:
            head = torch.tensor([list(unique[0][:shared])], device=self.device)
            model(input_ids=head, past_key_values=beginning, use_cache=True, logits_to_keep=1)
        tails = [ids[shared:] for ids in unique]
        longest = len(tails[-1])
        cache: Any = None
        logits: list[Tensor] = []
        for start, end in groups([len(ids) for ids in tails], self._pass_tokens):
            part = _growing_cache(model.config) if beginning is None else copy.deepcopy(beginning)
            if shared:
                part.batch_repeat_interleave(end - start)
            width = len(tails[end - 1])
            ids = torch.full((end - start, width), 0)
            for place, tail in enumerate(tails[start:end]):
                ids[place, width - len(tail) :] = torch.tensor(tail)
            mask = _attention_mask(shared, [len(tail) for tail in tails[start:end]])
            out = model(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, shared:].to(self.device),
                past_key_values=part,
                use_cache=True,
                logits_to_keep=1,
            )
            logits.append(out.logits[:, -1].float())
            if room is None:
                continue
            if (start, end) == (0, len(tails)):
                cache = part
            else:
                cache = _growing_cache(model.config) if cache is None else cache
                for layer, group in zip(cache.layers, part.layers, strict=True):
                    layer.take_group(group, start, len(tails), shared, longest)
        places = {ids: place for place, ids in enumerate(unique)}
        index = torch.tensor([places[ids] for ids in rows], device=self.device)
        whole = torch.cat(logits)
        whole = whole[index.to(whole.device)]
        if room is None:
            return None, whole
        if index.tolist() != list(range(len(unique))):
            cache.batch_select_indices(index)
        mask = _attention_mask(shared, [len(row) - shared for row in rows]).to(self.device)
        return CachedRows(model, cache, mask), whole

    @contextlib.contextmanager
    def exactly(self) -> Iterator[None]:
        """The output layer in float32 inside the block, whatever the precision."""
        import torch

        head = self.model.get_output_embeddings()
        if head is None or head.weight.dtype == torch.float32:
            yield
            return
        weight = head.weight.detach().float()
        bias = None if getattr(head, "bias", None) is None else head.bias.detach().float()
        before = head.forward
        head.forward = lambda hidden: torch.nn.functional.linear(hidden.float(), weight, bias)
        try:
            yield
        finally:
            head.forward = before


class CachedRows:
    """As `llama.Rows`, over transformers' cache."""

    def __init__(self, model: Any, cache: Any, mask: Tensor) -> None:
        self._model, self._cache, self._mask = model, cache, mask
        self._positions = mask.sum(-1, keepdim=True) - 1

    def step(self, tokens: Tensor) -> Tensor:
        """Logits (rows, vocabulary), float32, after ``tokens`` (rows,), which are added to the rows."""
        import torch

        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], 1)
        self._positions = self._positions + 1
        out = self._model(
            input_ids=tokens[:, None].to(self._mask.device),
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits[:, -1].float()
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Only ``rows``, rising places among the present ones, go on."""
        import torch

        index = torch.tensor(rows, device=self._mask.device)
        self._cache.batch_select_indices(index)
        self._mask, self._positions = self._mask[index], self._positions[index]


def groups(lengths: Sequence[int], most: int | None) -> Iterator[tuple[int, int]]:
    """Cuts of rows of rising ``lengths``: (start, end), at most ``most`` tokens with the padding; None: one group."""
    end = len(lengths)
    groups = []
    while end:
        start = 0 if most is None else max(0, min(end - 1, end - most // lengths[end - 1]))
        groups.append((start, end))
        end = start
    return reversed(groups)


def _attention_mask(shared: int, lengths: Sequence[int]) -> torch.Tensor:
    """(rows, ``shared`` + longest): the common beginning, padding to the left of each row's rest, and that rest."""
    import torch

    places = torch.arange(shared + max(lengths))[None]
    return ((places < shared) | (places >= places.shape[-1] - torch.tensor(lengths)[:, None])).long()


def _growing_cache(config: Any) -> Any:
    """transformers' own cache, whose plain layers write into spare room instead of copying themselves every step."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    growing = _growing_layer()
    cache = DynamicCache(config=config)
    cache.layers = [growing() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


_GROWING: list[Any] = []


def _growing_layer() -> Any:
    """The class of such a layer; made on first use, because its base class comes with torch."""
    if _GROWING:
        return _GROWING[0]
    import torch
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):
        room_tokens = 64
        keys: torch.Tensor | None
        values: torch.Tensor | None

        def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
            super().lazy_initialization(key_states, value_states)
            self._buffers: list[torch.Tensor] | None = None

        def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            start = self.get_seq_length()
            end = start + key_states.shape[-2]
            if self._buffers is None or end > self._buffers[0].shape[-2]:
                held = ((self.keys, key_states), (self.values, value_states))
                self._buffers = [self._roomier(old, new, start, end) for old, new in held]
            for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
                buffer[..., start:end, :] = new
            self.keys, self.values = (buffer[..., :end, :] for buffer in self._buffers)
            return self.keys, self.values

        def _roomier(self, old: torch.Tensor | None, new: torch.Tensor, start: int, end: int) -> torch.Tensor:
            shape = (*new.shape[:-2], end + self.room_tokens, new.shape[-1])
            buffer = torch.empty(shape, dtype=new.dtype, device=new.device)
            if start and old is not None:
                buffer[..., :start, :] = old
            return buffer

        def batch_select_indices(self, indices: torch.Tensor) -> None:
            end = self.get_seq_length()
            if self._buffers is not None and end:
                self._buffers = [buffer[indices.to(buffer.device)] for buffer in self._buffers]
                self.keys, self.values = (buffer[..., :end, :] for buffer in self._buffers)

        def batch_repeat_interleave(self, repeats: int) -> None:
            super().batch_repeat_interleave(repeats)
            self._buffers = None

        def take_group(self, group: GrowingLayer, start: int, n_rows: int, shared: int, longest: int) -> None:
            """Become, from ``start`` on, the rows of ``group``, which were read by themselves: their common beginning
            to the left of the padding, the rest to its right, ``shared + longest`` tokens in all."""
            keys: Tensor | None = group.keys
            values: Tensor | None = group.values
            assert keys is not None and values is not None  # the group has been read
            if not self.is_initialized:
                self.lazy_initialization(keys, values)
            end = shared + longest
            if self._buffers is None:
                # Zeros, for what is masked is still multiplied, by nothing: it must be a number.
                self._buffers = [
                    old.new_zeros((n_rows, *old.shape[1:-2], end + self.room_tokens, old.shape[-1]))
                    for old in (keys, values)
                ]
            for buffer, old in zip(self._buffers, (keys, values), strict=True):
                rows = buffer[start : start + old.shape[0]]
                rows[..., :shared, :] = old[..., :shared, :]
                rows[..., end - (old.shape[-2] - shared) : end, :] = old[..., shared:, :]
            self.keys, self.values = (buffer[..., :end, :] for buffer in self._buffers)

    _GROWING.append(GrowingLayer)
    return GrowingLayer

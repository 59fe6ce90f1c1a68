"""A model in this process: the forward passes of ``cai.llm.inference`` under a decoding loop of our own.

Plain ``generate`` sorts the whole vocabulary for every row of every step and draws from one random stream, so that a
row's text depends on its neighbours and a killed run cannot go on. Here

* the noise of a row is a counter-based stream keyed by (seed, key): the same row gets the same noise in any company;
* batches are planned before the first token (by token length, then by content; fixed size) and each whole
  batch is one file under ``work/parts``. A run that was killed redoes the unfinished batch in the same composition
  and never re-batches what is left;
* each different prompt is read once, and a common beginning once;
* on a CPU two batches are computed side by side, each by half of the cores: two cores that share every small
  operation wait for each other, two that work on rows of their own do not;
* a stage whose parts are all there opens the tokenizer only: no weights, no torch.

With ``precision`` "fp32" a row's text does not depend on its batch (tested; rounding differs below 1e-5, so a tie
that close could still fall either way). With "bf16", three times as fast on a CPU, it may: matrix kernels round
differently for other shapes. Batch size, device and library versions are therefore part of a part's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from cai.dialogue import Dialogue, Turn, messages
from cai.errors import ModelError, ParamsError
from cai.llm.cache import write_atomically
from cai.llm.model import Choice, Completion, FinishReason, Progress, Request, Sampling
from cai.llm.weights import (
    Dtype,
    chain_reference,
    model_folder,
    open_base,
    open_chain,
    resolve,
    stack,
    stop_ids,
    tokenizer,
)

if TYPE_CHECKING:
    import torch

    from cai.llm.inference import Engine

# Idle OpenMP threads that spin take the cores from the others: measured two to four times slower. libgomp reads it
# once, when torch is imported, so it is set as early as this file is.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Part of every part's name: a change of the loop below must not read what the old loop wrote.
_LOOP = "4"

# A common beginning (a judge's instruction, demonstrations) is computed once per batch when it is at least this long.
_SHARED_TOKENS = 48
# Rows that are done stay in the batch until they are this share of it: dropping rows copies the whole cache.
_DROP_SHARE = 1 / 8
# Nuclei wider than this are found by sorting the vocabulary.
_TOP_TOKENS = 1024
# Tokens that are compared as one before the likeliest are looked for.
_BLOCK_TOKENS = 64
# Fewer rows than this are one batch: halves of so few would each read all weights for next to nothing.
_ROWS_FOR_TWO = 8

T = TypeVar("T")


def open_model(
    name: str,
    *,
    root: Path,
    work: Path,
    base_url: str | None = None,
    batch_size: int,
    precision: str,
    show: Progress,
) -> HFModel:
    """The model ``name``, its weights still closed: they are loaded by the first batch that has to be computed.

    ``name`` is "base", a folder under ``root/data/models``, a path to such a folder, ``hub:OWNER/NAME@COMMIT``
    or ``folder:/ABSOLUTE/PATH`` (a plain Hugging Face folder). Raises ModelError or ParamsError.
    """
    if precision not in ("fp32", "bf16"):
        raise ParamsError("precision", "no such precision", got=precision, expected="fp32 | bf16")
    if batch_size < 1:
        raise ParamsError("batch_size", "must be a positive number of rows", got=batch_size, expected=">= 1")
    if base_url is not None:
        raise ParamsError("base_url", "means nothing to a model in this process", got="a value", expected="null")
    dtype = cast(Dtype, precision)
    kind, _, rest = name.partition(":")
    if kind in ("hub", "folder") and rest:
        address, _, revision = rest.partition("@")
        values = {"kind": kind, "id": address, "revision": revision, "path": rest}
        reference = resolve(values)
        ground = folder = open_base(reference, work)
        is_hub = kind == "hub"
        public = f"{address}@{revision[:12]}" if is_hub else f"{Path(rest).name}:{reference['sha256'][:12]}"
        return HFModel(public, folder, ground, lambda: ground, work / "parts", batch_size, dtype, show)
    folder = model_folder(name, root)
    base, _ = stack(folder)
    ground = folder if (folder / "config.json").is_file() else open_base(base, work)
    named = chain_reference(folder)
    return HFModel(
        named, folder, ground, lambda: open_chain(folder, root, work, dtype), work / "parts", batch_size, dtype, show
    )


@dataclass(frozen=True)
class _Row:
    """One prompt, ready to be computed. ``digest`` names everything that its result depends on, its batch aside."""

    ids: tuple[int, ...]
    sampling: Sampling | None
    key: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class _Drawn:
    ids: tuple[int, ...]
    finish: FinishReason


class HFModel:
    """A transformers model behind the protocol of ``cai.llm.model``."""

    def __init__(
        self,
        name: str,
        folder: Path,
        ground: Path,
        weights: Callable[[], Path],
        parts: Path,
        batch_size: int,
        precision: Dtype,
        show: Progress,
    ) -> None:
        self.name = name
        self.weights = weights
        self._parts, self._batch_size, self._precision, self._show = parts, batch_size, precision, show
        self._tokenizer: Any = tokenizer(folder if (folder / "tokenizer_config.json").is_file() else ground)
        config = json.loads((ground / "config.json").read_text())
        self.stop_ids = tuple(stop_ids(folder, ground, self._tokenizer.get_vocab(), self._tokenizer.eos_token_id))
        self.window_tokens = int(config.get("max_position_embeddings") or self._tokenizer.model_max_length)
        self._control = control_tokens(self._tokenizer)
        self._loaded: Engine | None = None

    # --- the protocol ---

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order; a prompt that does not fit the context window is an error row."""
        prompts = self.prompts([(request.dialogue, request.prefix) for request in requests])
        rows: list[_Row | Completion] = []
        for request, prompt in zip(requests, prompts, strict=True):
            new = request.sampling.max_new_tokens
            if isinstance(prompt, str):
                rows.append(Completion.failed(prompt))
            elif len(prompt) + new > self.window_tokens:
                reason = f"{len(prompt)} prompt tokens and {new} new ones exceed the window of {self.window_tokens}"
                rows.append(Completion(None, "error", prompt_tokens=len(prompt), error=reason))
            else:
                rows.append(_row(prompt, request.sampling, request.key))
        drawn = self._computed("generate", [row for row in rows if isinstance(row, _Row)], (), self._draw, _read_drawn)
        return [
            row
            if isinstance(row, Completion)
            else self.completion(request.prefix, len(row.ids), drawn[row.digest].ids, drawn[row.digest].finish)
            for request, row in zip(requests, rows, strict=True)
        ]

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        """Log-probabilities of the options' first tokens after each prompt and ``prefix``; one choice a dialogue.

        Raises ModelError when two options begin with the same token: they could not be told apart.
        """
        firsts = self.first_tokens(options, prefix)
        rows: list[_Row | Choice] = []
        for prompt in self.prompts([(dialogue, prefix) for dialogue in dialogues]):
            if isinstance(prompt, str):
                rows.append(Choice(None, None, prompt))
            elif len(prompt) >= self.window_tokens:
                reason = f"{len(prompt)} prompt tokens fill the window of {self.window_tokens}"
                rows.append(Choice(None, None, reason))
            else:
                rows.append(_row(prompt, None, ()))
        whole = [row for row in rows if isinstance(row, _Row)]
        logprobs = self._computed(
            "choose, exact head", whole, firsts, lambda batch: self._weigh(batch, firsts), _read_logprobs, exact=True
        )
        return [row if isinstance(row, Choice) else _choice(logprobs[row.digest]) for row in rows]

    # --- prompts and texts, which the vllm backend uses too ---

    def prompts(self, asked: Sequence[tuple[Dialogue, str]]) -> list[tuple[int, ...] | str]:
        """Token ids of every rendered dialogue and prefix, or the reason why there are none."""
        texts: list[str | None] = []
        reasons: list[str] = []
        for dialogue, prefix in asked:
            text, reason = self._rendered(dialogue, prefix)
            texts.append(text)
            reasons.append(reason)
        known = [text for text in texts if text is not None]
        encoded = iter(self._tokenizer(known, add_special_tokens=False)["input_ids"] if known else ())
        return [reason if text is None else tuple(next(encoded)) for text, reason in zip(texts, reasons, strict=True)]

    def _rendered(self, dialogue: Dialogue, prefix: str) -> tuple[str | None, str]:
        from jinja2 import TemplateError

        if not dialogue:
            return None, "the dialogue is empty"
        if any(_is_broken(text) for text in (prefix, *(turn.text for turn in dialogue))):
            return None, "the prompt holds half a surrogate pair"
        # Control tokens inside a text would be read as real ones: a prompt could then speak as the assistant.
        clean = tuple(Turn(turn.role, without_control_tokens(turn.text, self._control)) for turn in dialogue)
        try:
            text = self._tokenizer.apply_chat_template(
                messages(clean),
                tokenize=False,
                add_generation_prompt=True,
                # Templates that write today's date would give another prompt tomorrow.
                date_string="26 Jul 2024",
            )
        except TemplateError as error:
            return None, f"the chat template refuses this dialogue: {error}"
        return str(text) + without_control_tokens(prefix, self._control), ""

    def first_tokens(self, options: Sequence[str], prefix: str) -> tuple[int, ...]:
        """The first token of each option after ``prefix``. Raises ModelError when two are the same."""
        text, reason = self._rendered((Turn("user", "x"),), prefix)
        if text is None:
            raise ModelError("choose", reason)
        # A token may begin with the space or bracket before the option; what the model would really say next is read
        # off the joint tokens where they go on from those of the prompt, else the option stands alone.
        before = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        firsts = []
        for option in options:
            joint = self._tokenizer(text + option, add_special_tokens=False)["input_ids"]
            goes_on = joint[: len(before)] == before and len(joint) > len(before)
            alone = self._tokenizer(option, add_special_tokens=False)["input_ids"]
            if not goes_on and not alone:
                raise ModelError("choose", "an option is empty", expected="a text of at least one token")
            firsts.append(joint[len(before)] if goes_on else alone[0])
        if len(set(firsts)) < len(firsts):
            raise ModelError(
                "choose", "options begin with the same token", got=list(options), expected="different first tokens"
            )
        return tuple(firsts)

    def completion(self, prefix: str, n_prompt: int, ids: tuple[int, ...], finish: FinishReason) -> Completion:
        """What the drawn tokens say, without control tokens and outer white space; an empty reply is an error."""
        text = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        # A cut may fall inside a character; the decoder marks the broken half.
        text = text.rstrip("\N{REPLACEMENT CHARACTER}") if finish == "length" else text
        text = text.rstrip() if prefix else text.strip()
        if not text:
            return Completion(None, "error", n_prompt, len(ids), ids, "the reply is empty")
        return Completion(text, finish, n_prompt, len(ids), ids)

    # --- batches ---

    def _computed(
        self,
        what: str,
        rows: Sequence[_Row],
        extra: Sequence[int],
        compute: Callable[[list[_Row]], list[T]],
        read: Callable[[Any], T],
        *,
        exact: bool = False,
    ) -> dict[str, T]:
        """The result of every row, by its digest; whole batches of an earlier run are read, the rest is computed."""
        unique = sorted({row.digest: row for row in rows}.values(), key=lambda row: (len(row.ids), row.digest))
        found: dict[str, T] = {}

        def take(batch: list[_Row], results: list[T]) -> None:
            found.update(zip((row.digest for row in batch), results, strict=True))
            self._show(len(found), len(unique))

        pending: list[tuple[list[_Row], Path]] = []
        for batch in _plan(unique, self._batch_size, side_by_side=_device_type() == "cpu"):
            part = self._parts / f"{self._part_name(what, batch, extra)}.json"
            results = _read_part(part, len(batch), read)
            if results is None:
                pending.append((batch, part))
            else:
                take(batch, results)
        if pending:
            model = self._model()  # before there are two threads that could open it
            with model.exactly() if exact else contextlib.nullcontext():
                for (batch, part), results in _side_by_side(compute, pending):
                    write_atomically(part, json.dumps([_written(item) for item in results]).encode())
                    take(batch, results)
        return found

    def _part_name(self, what: str, batch: Sequence[_Row], extra: Sequence[int]) -> str:
        content = {
            "what": what,
            "extra": list(extra),
            "loop": _LOOP,
            "model": self.name,
            "precision": self._precision,
            "stops": self.stop_ids,
            "device": _device_type(),
            "versions": [importlib.metadata.version(package) for package in ("torch", "transformers")],
            "rows": [row.digest for row in batch],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    # --- torch ---

    def _model(self) -> Engine:
        if self._loaded is None:
            _spare_page_faults()
            self._loaded = _load(self.weights(), self._precision)
        return self._loaded

    def _weigh(self, batch: list[_Row], firsts: Sequence[int]) -> list[list[float]]:
        import torch

        rows = [row.ids for row in batch]
        with torch.inference_mode():
            _, logits = self._model().read(rows, _shared_tokens(rows), None)
            chosen = torch.log_softmax(logits.double(), -1)[:, list(firsts)]
        return [[float(value) for value in row] for row in chosen.tolist()]

    def _draw(self, batch: list[_Row]) -> list[_Drawn]:
        import torch

        rows = [row.ids for row in batch]
        budgets = [_sampling(row).max_new_tokens for row in batch]
        with torch.inference_mode():
            held, logits = self._model().read(rows, _shared_tokens(rows), max(budgets))
            assert held is not None  # there is room
            sampler = _Sampler([_sampling(row) for row in batch], [row.key for row in batch], logits.device)
            texts: list[list[int]] = [[] for _ in batch]
            finish: list[FinishReason | None] = [None] * len(batch)
            live = list(range(len(batch)))
            while True:
                drawn = sampler.next(logits, len(texts[live[0]]) if live else 0, live)
                n_open = 0
                for place, token in zip(live, drawn.tolist(), strict=True):
                    if finish[place] is not None:
                        texts[place].append(token)  # keeps the rows in step; cut off below
                        continue
                    if token in self.stop_ids:
                        finish[place] = "stop"
                        budgets[place] = len(texts[place])
                    texts[place].append(token)
                    if finish[place] is None and len(texts[place]) >= budgets[place]:
                        finish[place] = "length"
                    n_open += finish[place] is None
                if not n_open:
                    break
                if len(live) - n_open >= max(1, len(live) * _DROP_SHARE):
                    kept = [index for index, place in enumerate(live) if finish[place] is None]
                    held.keep(kept)
                    drawn = drawn[torch.tensor(kept, device=drawn.device)]
                    live = [live[index] for index in kept]
                logits = held.step(drawn)
        return [
            _Drawn(tuple(text[:budget]), cast(FinishReason, reason))
            for text, budget, reason in zip(texts, budgets, finish, strict=True)
        ]


class _Sampler:
    """Draws the next token of every row from its own parameters and its own noise."""

    def __init__(self, samplings: Sequence[Sampling], keys: Sequence[tuple[str, ...]], device: Any) -> None:
        import torch

        longest = max(sampling.max_new_tokens for sampling in samplings)
        noise = np.stack([row_noise(s.seed, key, longest) for s, key in zip(samplings, keys, strict=True)])
        self._noise = torch.from_numpy(noise).to(device)
        self._temperature = torch.tensor([s.temperature for s in samplings], dtype=torch.float64, device=device)
        self._top_p = torch.tensor([s.top_p for s in samplings], dtype=torch.float64, device=device)
        self._top_k = [s.top_k for s in samplings]
        self._greedy = [s.temperature == 0 for s in samplings]

    def next(self, logits: torch.Tensor, step: int, live: Sequence[int]) -> torch.Tensor:
        """Token ids (rows,) for ``logits`` (rows, vocabulary) of the rows ``live`` of the batch at ``step``."""
        import torch

        drawn = logits.argmax(-1)
        n_tokens = logits.shape[-1]
        narrow = [i for i, row in enumerate(live) if not self._greedy[row] and 0 < self._top_k[row] <= _TOP_TOKENS]
        wide = [i for i, row in enumerate(live) if not self._greedy[row] and not 0 < self._top_k[row] <= _TOP_TOKENS]
        for places in (narrow, wide):
            if not places:
                continue
            rows = [live[i] for i in places]
            at = torch.tensor(places, device=logits.device)
            who = torch.tensor(rows, device=logits.device)
            limits = [min(self._top_k[row] or n_tokens, n_tokens) for row in rows]
            likely = logits if len(places) == len(live) else logits[at]
            tokens: torch.Tensor | None = None
            if places is narrow:  # the rest of the vocabulary is out of the draw: leave it before anything is computed
                tokens = _likeliest(likely, max(limits)).sort(-1).values
                likely = likely.gather(-1, tokens)
            scaled = likely.double() / self._temperature[who][:, None]
            limit = torch.tensor(limits, device=logits.device)[:, None]
            uniform = self._noise[who, step][:, None]
            place = _nucleus_draw(scaled, limit, self._top_p[who][:, None], uniform)
            drawn[at] = place if tokens is None else tokens.gather(-1, place[:, None])[:, 0]
        return drawn


def _likeliest(logits: torch.Tensor, k: int) -> torch.Tensor:
    """The ids (rows, k) of each row's likeliest tokens, in any order.

    They all lie in the k blocks with the highest maxima, so that the rest of the vocabulary is read only once.
    """
    n_blocks = logits.shape[-1] // _BLOCK_TOKENS
    if logits.shape[-1] % _BLOCK_TOKENS or n_blocks < 4 * k:
        return logits.topk(k, -1).indices
    blocks = logits.unflatten(-1, (n_blocks, _BLOCK_TOKENS))
    best = blocks.amax(-1).topk(k, -1).indices
    inside = blocks.gather(1, best[..., None].expand(-1, -1, _BLOCK_TOKENS))
    places = inside.flatten(1).topk(k, -1).indices
    return best.gather(-1, places // _BLOCK_TOKENS) * _BLOCK_TOKENS + places % _BLOCK_TOKENS


def _nucleus_draw(
    scaled: torch.Tensor, limit: torch.Tensor, top_p: torch.Tensor, uniform: torch.Tensor
) -> torch.Tensor:
    """One token id a row, by inverting the distribution function over the tokens kept, in order of their ids.

    Kept are the ``limit`` likeliest tokens, and of these the fewest whose share reaches ``top_p`` (the likeliest one
    always). The order of ids, and not of likelihood, keeps a draw in place when two likelihoods swap by rounding.
    """
    import torch

    n_tokens = scaled.shape[-1]
    widest = min(int(limit.max()), n_tokens)
    tokens: torch.Tensor | None = None
    if widest == n_tokens and bool(((top_p >= 1) & (limit >= n_tokens)).all()):
        kept = torch.softmax(scaled, -1)
    else:
        values, tokens = scaled.topk(min(widest, _TOP_TOKENS), -1)
        total = scaled.logsumexp(-1, keepdim=True)
        covered = ((values - total).exp().sum(-1, keepdim=True) >= top_p) & (limit >= n_tokens)
        if widest > _TOP_TOKENS and not bool(covered.all()):
            values, tokens = scaled.sort(-1, descending=True)
        rank = torch.arange(values.shape[-1], device=values.device)[None]
        values = values.masked_fill(rank >= limit, -torch.inf)
        # A share is one of the tokens that top_k leaves; with no top_k, of the whole vocabulary.
        total = torch.where(limit >= n_tokens, total, values.logsumexp(-1, keepdim=True))
        share = (values - total).exp()
        before = share.cumsum(-1) - share
        kept = share.masked_fill((before >= top_p) & (rank > 0), 0)
        tokens, order = tokens.sort(-1)
        kept = kept.gather(-1, order)
    reached = kept.cumsum(-1)
    whole = reached[:, -1:]
    # Rounding must not push the target onto the very end, where no token would lie beyond it.
    target = torch.minimum(uniform * whole, torch.nextafter(whole, torch.zeros_like(whole)))
    place = (reached > target).to(torch.uint8).argmax(-1, keepdim=True)
    return (place if tokens is None else tokens.gather(-1, place))[:, 0]


def row_noise(seed: int, key: Sequence[str], n: int) -> np.ndarray:
    """``n`` uniform numbers in [0, 1) that depend on (seed, key) only; a longer row begins with the shorter one.

    >>> bool((row_noise(1, ("a",), 3) == row_noise(1, ("a",), 9)[:3]).all())
    True
    """
    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    raw = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(n)
    return cast(np.ndarray, (raw >> np.uint64(11)) * 2.0**-53)


def control_tokens(tokenizer: Any) -> re.Pattern[str]:
    """A pattern of every special token, longest first; it matches nothing where there are none."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    names = sorted(special | set(tokenizer.all_special_tokens), key=lambda name: (-len(name), name))
    return re.compile("|".join(map(re.escape, names)) or r"(?!)")


def without_control_tokens(text: str, control: re.Pattern[str]) -> str:
    """The text without special tokens, also those that appear only when an inner one is taken out.

    >>> without_control_tokens("<|e<|end|>nd|>hi", re.compile(re.escape("<|end|>")))
    'hi'
    """
    while (shorter := control.sub("", text)) != text:
        text = shorter
    return text


# --- small parts ------------------------------------------------------------------------------------------------------


def _row(ids: tuple[int, ...], sampling: Sampling | None, key: tuple[str, ...]) -> _Row:
    content = json.dumps([ids, asdict(sampling) if sampling else None, key])
    return _Row(ids, sampling, key, hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest())


def _sampling(row: _Row) -> Sampling:
    assert row.sampling is not None  # rows of `generate` have one
    return row.sampling


def _plan(rows: Sequence[_Row], size: int, *, side_by_side: bool) -> Iterator[list[_Row]]:
    """Batches of at most ``size`` of ``rows``, which come sorted by length.

    Side by side, they come in pairs of the same size and, by turns, of the same lengths, so that neither of two workers
    waits for the other. The plan is that of two workers on any machine: a run goes on where another has begun.
    """
    if not side_by_side or len(rows) < _ROWS_FOR_TWO:
        for start in range(0, len(rows), size):
            yield list(rows[start : start + size])
        return
    n_pairs = -(-len(rows) // (2 * size))
    bounds = [len(rows) * pair // n_pairs for pair in range(n_pairs + 1)]
    for start, end in itertools.pairwise(bounds):
        yield list(rows[start:end:2])
        if end > start + 1:  # a pair of one row, where a batch holds but one
            yield list(rows[start + 1 : end : 2])


def _side_by_side(
    compute: Callable[[list[_Row]], list[T]], pending: Sequence[tuple[list[_Row], Path]]
) -> Iterator[tuple[tuple[list[_Row], Path], list[T]]]:
    """Each pending batch and its results, in the order in which they are done."""
    import torch

    n_threads = torch.get_num_threads()
    n_workers = min(2, n_threads, len(pending)) if _device_type() == "cpu" else 1
    if n_workers < 2:
        for item in pending:
            yield item, compute(item[0])
        return
    torch.set_num_threads(n_threads // n_workers)  # torch hands a new thread the number that is set when it begins
    pool = ThreadPoolExecutor(n_workers)
    try:
        running = {pool.submit(compute, item[0]): item for item in pending}
        for done in as_completed(running):
            yield running[done], done.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_threads)


def _read_part(part: Path, n_rows: int, read: Callable[[Any], T]) -> list[T] | None:
    try:
        content = json.loads(part.read_bytes())
        results = [read(item) for item in content]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return results if len(results) == n_rows else None


def _written(item: object) -> object:
    return {"ids": item.ids, "finish": item.finish} if isinstance(item, _Drawn) else item


def _read_drawn(item: Any) -> _Drawn:
    return _Drawn(tuple(int(token) for token in item["ids"]), item["finish"])


def _read_logprobs(item: Any) -> list[float]:
    return [float(value) for value in item]


def _choice(logprobs: Sequence[float]) -> Choice:
    return Choice(tuple(logprobs), float(np.exp(np.asarray(logprobs)).sum()))


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _shared_tokens(rows: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all rows begin with; 0 when too few to be worth a pass of their own. One is always left."""
    if len(rows) < 2:
        return 0
    first, last = min(rows), max(rows)
    most = min(len(row) for row in rows) - 1
    same = next((i for i in range(most) if first[i] != last[i]), most)
    return same if same >= _SHARED_TOKENS else 0


def _device_type() -> str:
    """ "cuda" where a GPU can be used, else "cpu"; torch is not imported where no GPU driver is present."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _load(folder: Path, precision: Dtype) -> Engine:
    import torch
    from safetensors import SafetensorError

    from cai.llm.inference import opened

    try:
        return opened(folder, torch.bfloat16 if precision == "bf16" else torch.float32, _device_type())
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"weights {folder.name}",
            "cannot be loaded",
            got=f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",
            expected="a causal language model that fits the memory",
            next_step="delete this folder under the work directory to have it rebuilt, or choose a smaller model",
        ) from error


_TUNED: list[bool] = []


def _spare_page_faults() -> None:
    """Nothing; glibc then keeps large freed blocks instead of handing each back to the kernel after every operation.

    Page faults cost more than arithmetic on small virtual machines. Linux with glibc only, and only without a GPU.
    """
    if _TUNED or not sys.platform.startswith("linux") or _device_type() != "cpu":
        return
    _TUNED.append(True)
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    m_mmap_max, m_trim_threshold, m_top_pad = -4, -1, -2
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)
    mallopt(m_top_pad, 1 << 28)

"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, Ollama, llama.cpp, ``transformers serve``.

Every answer is stored by content address the moment it arrives (``work/completions``): a killed run asks, and pays,
for nothing twice, and a second run asks for nothing. What a server can do is found out by asking it: whether it gives
log-probabilities by one probe, whether it takes ``top_k`` and a prefix by its refusal of the first request with them.

A fault is retried with backoff and jitter, then becomes an error row with its reason. Only what would fail for every
row alike stops the run: a refused key, an unknown model, an exhausted quota.

With ``servers.batch`` the requests travel in files through OpenAI's Batch API (``cai.llm.batches``). Where
``servers.prices`` knows the model, every request is paid from the run's account (``cai.llm.prices``);
one that could pass ``budget.usd`` is not sent, what is under way is awaited and kept, and the run stops.

The key comes from OPENAI_API_KEY and goes into the request's header, nowhere else. Messages of the server are not
quoted, because they may repeat the request; reasons hold a status and a code.

Not promised: the same text from the same seed (the server decides), that the weights behind a name stay the same, and
that a server draws at all (``transformers serve`` is greedy where the model's generation_config.json lacks do_sample).
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import hashlib
import ipaddress
import json
import logging
import math
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from cai.dialogue import Dialogue, messages
from cai.errors import BudgetExceeded, ModelError, ParamsError
from cai.llm.batches import LONGEST_WAIT_SECONDS, Batches, Sent, may_pass, parts
from cai.llm.cache import CompletionStore
from cai.llm.model import Choice, Completion, Progress, Request
from cai.llm.prices import Account, cost, most_prompt_tokens

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

_OFFICIAL = "https://api.openai.com/v1"
# Most servers give at most 20 (OpenAI's and vLLM's limit).
_TOP_LOGPROBS = 20
_MOST_BYTES = 8 << 20
_MOST_TOKENS = 1 << 31
_SETTLING_SECONDS = 0.1
# Without a token count from the server, a text this much longer than its budget was not cut by it.
_CHARACTERS_PER_TOKEN = 32
_FORMAT = "1"
# The client wants one; servers of one's own mostly ask for none.
_NO_KEY = "none"

T = TypeVar("T")


def open_model(
    name: str,
    *,
    root: Path,
    work: Path,
    base_url: str | None = None,
    batch_size: int = 1,
    precision: str = "fp32",
    show: Progress,
    concurrency: int = 16,
    timeout_seconds: float = 120.0,
    max_retries: int = 6,
    allow_insecure: bool = False,
    backoff_seconds: float = 0.5,
    batch: bool = False,
    poll_seconds: float = 30.0,
    prices: Mapping[str, Mapping[str, Any]] | None = None,
    budget_usd: float | None = None,
    account: Path | None = None,
) -> OpenAIModel:
    """The model ``name`` of the server at ``base_url`` (None: OpenAI's own). Asks the server nothing yet.

    ``batch_size`` and ``precision`` are the server's business and ignored. Raises ParamsError for an address that
    would send the prompts in the clear, unless ``allow_insecure``, and for a budget without the model's price;
    ModelError when OpenAI's own server is asked without a key.
    """
    url = (base_url or _OFFICIAL).rstrip("/")
    _require_safe(url, allow_insecure)
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and base_url is None:
        raise ModelError(
            "openai backend",
            "no key",
            expected="OPENAI_API_KEY in the environment",
            next_step="export it, or set base_url",
        )
    if budget_usd is not None and cost(name, 1, 1, prices or {}) is None:
        raise ParamsError(
            "budget.usd",
            "cannot be kept without the model's price",
            got=name,
            expected="servers.prices to hold it, in USD per million tokens",
            next_step="add its price (0 for a server of your own), or set budget.usd: null",
        )
    # At INFO these write one line a request, at DEBUG the texts.
    for library in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    return OpenAIModel(
        name,
        url=url,
        key=key or _NO_KEY,
        official=base_url is None,
        store=CompletionStore(work / "completions"),
        show=show,
        concurrency=concurrency,
        timeout_seconds=timeout_seconds,
        max_retries=max_retries,
        backoff_seconds=backoff_seconds,
        prices=prices or {},
        account=Account(account or work / "spending.json", budget_usd),
        batches=work / "batches" if batch else None,
        poll_seconds=poll_seconds,
    )


class _Fault(Exception):
    """One failed try: whether another may succeed (``again``), and how long the server asks to be left (``wait``)."""

    def __init__(self, reason: str, *, again: bool = True, wait: float | None = None, refusal: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.again, self.wait, self.refusal = reason, again, wait, refusal


class OpenAIModel:
    """A chat server behind the protocol of ``cai.llm.model``.

    ``cost`` counts what the run cost (n_calls, n_hits, n_retries, n_failed, prompt_tokens, completion_tokens, and usd
    where the price is known): for ``.work/runs``, never for an artifact.
    """

    def __init__(
        self,
        model: str,
        *,
        url: str,
        key: str,
        official: bool,
        store: CompletionStore,
        show: Progress,
        concurrency: int,
        timeout_seconds: float,
        max_retries: int,
        backoff_seconds: float,
        prices: Mapping[str, Mapping[str, Any]],
        account: Account,
        batches: Path | None,
        poll_seconds: float,
    ) -> None:
        self.name = f"openai:{model}"
        self.cost: dict[str, float] = dict.fromkeys(
            ("n_calls", "n_hits", "n_retries", "n_failed", "prompt_tokens", "completion_tokens"), 0
        )
        self._prices, self._account, self._batches, self._poll = prices, account, batches, poll_seconds
        self._n_under_way = 0
        if cost(model, 0, 0, prices) is not None:
            self.cost["usd"] = 0.0
        self._model, self._url, self._key, self._official = model, url, key, official
        self._store, self._show = store, show
        self._concurrency, self._timeout = concurrency, timeout_seconds
        self._max_retries, self._backoff = max_retries, backoff_seconds
        # Fields that not every server takes; one that refuses them gets the request without, from then on.
        self._refused: set[str] = set()

    # --- the protocol ---

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order. What is stored is not asked again."""
        return self._all([self._asked(request) for request in requests], _stored_completion, self._read_reply, _failed)

    def choose(self, dialogues: Sequence[Dialogue], options: Sequence[str], prefix: str = "") -> list[Choice]:
        """Log-probabilities of the options as first words of the answer; one choice a dialogue.

        An option stands for every one of the 20 likeliest tokens that reads the same without surrounding spaces; one
        that is not among them is given the least of their log-probabilities, which it cannot exceed. Where the server
        gives no log-probabilities (probed once), or none of the options is among the 20, the row says so.
        """
        if len({option.strip() for option in options}) < len(options):
            raise ModelError("choose", "options are the same", got=list(options), expected="different options")
        asked = [self._asked_choice(dialogue, prefix) for dialogue in dialogues]
        if any(self._store.get(_digest(ask)) is None for ask in asked) and not self.gives_logprobs():
            return [Choice(None, None, "the server gives no log-probabilities (probed)") for _ in dialogues]

        def read(value: Mapping[str, Any]) -> Choice:
            return _choice(value["top"], options)

        return self._all(asked, read, _read_top, lambda reason: Choice(None, None, reason))

    def gives_logprobs(self) -> bool:
        """Whether the server gives log-probabilities: by one small request, whose outcome is stored."""
        ask = {"what": "probe", "format": _FORMAT, "url": self._url, "model": self._model}
        known = self._store.get(_digest(ask))
        if known is None:
            body = self._body([{"role": "user", "content": "Say A or B."}], 1) | {
                "logprobs": True,
                "top_logprobs": _TOP_LOGPROBS,
                "temperature": 1,
            }

            async def probe(client: openai.AsyncOpenAI) -> bool:
                try:
                    answer = await self._tried(client, {"body": body, "n_new": 1}, lambda content, _: content)
                except _Fault as fault:
                    if fault.refusal:
                        return False
                    raise ModelError(
                        f"openai backend, model {self._model}",
                        "the server does not answer",
                        got=fault.reason,
                        next_step="check base_url and that the server runs, then start again: finished work is kept",
                    ) from fault
                return bool(_top(answer))

            known = {"model": self._model, "gives_logprobs": asyncio.run(self._with_client(probe))}
            self._store.put(_digest(ask), known)
            if not known["gives_logprobs"]:
                log.warning("%s: the server gives no log-probabilities", self.name)
        return bool(known["gives_logprobs"])

    # --- what is asked ---

    def _asked(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        noise = hashlib.sha256(json.dumps([sampling.seed, *request.key]).encode()).digest()
        body = self._body(_with_prefix(request.dialogue, request.prefix), sampling.max_new_tokens) | {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": int.from_bytes(noise[:4], "big") >> 1,
        }
        extra: dict[str, Any] = {"top_k": sampling.top_k} if sampling.top_k and not self._official else {}
        # The key, so that two draws of one prompt are two questions even where their seeds meet.
        return self._ask("generate", body, extra, request.prefix, sampling.max_new_tokens) | {
            "key": list(request.key),
            "sampling": asdict(sampling),
        }

    def _asked_choice(self, dialogue: Dialogue, prefix: str) -> dict[str, Any]:
        body = self._body(_with_prefix(dialogue, prefix), 1) | {
            "logprobs": True,
            "top_logprobs": _TOP_LOGPROBS,
            "temperature": 1,
        }
        return self._ask("choose", body, {}, prefix, 1)

    def _body(self, chat: list[dict[str, str]], n_new: int) -> dict[str, Any]:
        budget = "max_completion_tokens" if self._official else "max_tokens"
        return {"model": self._model, "messages": chat, budget: n_new}

    def _ask(self, what: str, body: dict[str, Any], extra: dict[str, Any], prefix: str, n_new: int) -> dict[str, Any]:
        if prefix and not self._official:
            # vLLM's and llama.cpp's words for "go on from the last message instead of answering it".
            extra = extra | {"add_generation_prompt": False, "continue_final_message": True}
        return {
            "what": what,
            "format": _FORMAT,
            "url": self._url,
            "body": body,
            "extra": extra,
            "prefix": prefix,
            "n_new": n_new,
        }

    # --- asking ---

    def _all(
        self,
        asked: Sequence[dict[str, Any]],
        read: Callable[[Mapping[str, Any]], T],
        received: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
        failed: Callable[[str], T],
    ) -> list[T]:
        keys = [_digest(ask) for ask in asked]
        found: dict[str, T] = {}
        open_: dict[str, dict[str, Any]] = {}
        for key, ask in zip(keys, asked, strict=True):
            if key in found or key in open_:
                continue
            value = self._store.get(key)
            if value is None:
                open_[key] = ask
                continue
            found[key] = read(value)
            self.cost["n_hits"] += 1
        n_all = len(found) + len(open_)
        self._show(len(found), n_all)

        def keep(key: str, value: dict[str, Any] | _Fault) -> None:
            if isinstance(value, _Fault):
                self.cost["n_failed"] += 1
                found[key] = failed(value.reason)
            else:
                self._store.put(key, {"model": self._model} | value)
                found[key] = read(value)

        async def one_by_one(client: openai.AsyncOpenAI) -> None:
            queue = iter(open_.items())
            stopped: list[BudgetExceeded] = []

            async def worker() -> None:
                for key, ask in queue:
                    try:
                        keep(key, await self._tried(client, ask, received))
                    except _Fault as fault:
                        keep(key, fault)
                    except BudgetExceeded as error:
                        # The others' requests are paid for: they end and are kept, and none begins.
                        stopped.append(error)
                    if stopped:
                        return
                    self._show(len(found), n_all)

            workers = [asyncio.create_task(worker()) for _ in range(min(self._concurrency, len(open_)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for task in workers:
                    task.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
            if stopped:
                raise stopped[0]

        async def in_files(client: openai.AsyncOpenAI) -> None:
            await self._in_batches(client, open_, received, keep)

        work = one_by_one if self._batches is None else in_files
        if open_:
            asyncio.run(self._with_client(work))
        return [found[key] for key in keys]

    async def _with_client(self, work: Callable[[openai.AsyncOpenAI], Coroutine[Any, Any, T]]) -> T:
        import openai

        # Proxies of the environment stand between us and a server on this very machine; a redirect could carry the
        # key elsewhere. Retries are ours, because they are counted and end in a row.
        # aiohttp below it takes half the CPU time a call of the client's usual transport (EXPERIMENTS.md).
        http = openai.DefaultAioHttpClient(follow_redirects=False, trust_env=not _is_loopback(self._url))
        async with openai.AsyncOpenAI(
            api_key=self._key, base_url=self._url, max_retries=0, timeout=self._timeout, http_client=http
        ) as client:
            return await work(client)

    async def _tried(
        self,
        client: openai.AsyncOpenAI,
        ask: dict[str, Any],
        read: Callable[[dict[str, Any], dict[str, Any]], T],
    ) -> T:
        n_tries = 0
        while True:
            n_tries += 1
            try:
                content = await self._once(client, ask)
                self._check(content)
                return read(content, ask)
            except _Fault as fault:
                if not fault.again or n_tries > self._max_retries:
                    if n_tries > 1:
                        raise _Fault(f"{fault.reason}, after {n_tries} tries", again=False) from None
                    raise
                # Full jitter: many rows that failed together do not come back together.
                wait = min(self._backoff * 2 ** (n_tries - 1), LONGEST_WAIT_SECONDS / 2) * random.uniform(0.5, 1.5)
                self.cost["n_retries"] += 1
                await asyncio.sleep(min(max(wait, fault.wait or 0.0), LONGEST_WAIT_SECONDS))

    async def _once(self, client: openai.AsyncOpenAI, ask: dict[str, Any]) -> dict[str, Any]:
        """The parsed body of one reply. Where the server refuses the extra fields, asks once more without them."""
        extra = {name: value for name, value in (ask.get("extra") or {}).items() if name not in self._refused}
        try:
            return await self._sent(client, ask["body"], extra)
        except _Fault as fault:
            if not (extra and fault.refusal):
                raise
            content = await self._sent(client, ask["body"], {})
        # It was they, then: the same request is taken without them.
        if not set(extra) <= self._refused:
            self._refused |= set(extra)
            log.warning("%s: the server does not take %s; asked without", self.name, ", ".join(sorted(extra)))
        return content

    async def _sent(self, client: openai.AsyncOpenAI, body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        import aiohttp
        import openai

        most = await self._taken(body)
        # What may have been billed: all of it, until a reply or a refusal says otherwise.
        billed = most
        self.cost["n_calls"] += 1
        self._n_under_way += 1
        try:
            # The client's own limit is per read; a server that drips a byte a minute would never meet it.
            async with asyncio.timeout(self._timeout):
                # As extra_body it goes as it is, unchecked: the messages are ours, and the client's type checks of them
                # stood out in a profile. No saving of the whole was measured (11.1 and 10.8 CPU seconds, within noise).
                async with client.chat.completions.with_streaming_response.create(
                    model=self._model, messages=(), extra_body={**body, **extra}
                ) as response:
                    kind = response.headers.get("content-type", "")
                    raw = bytearray()
                    async for piece in response.iter_bytes():
                        raw += piece
                        if len(raw) > _MOST_BYTES:
                            raise _Fault(f"the reply is longer than {_MOST_BYTES >> 20} MiB")
            content = _parsed(self._without_key(raw), kind)
            billed = self._count(content, most, batch=False)
            return content
        except openai.APIStatusError as error:
            billed = 0.0
            raise self._status_fault(error) from None
        except TimeoutError:
            raise _Fault(f"no whole reply within {self._timeout:g} s") from None
        except openai.APIConnectionError as error:
            # The layers between call every lost connection a time-out; what happened stands at the bottom.
            cause = _first_cause(error)
            if isinstance(cause, TimeoutError):
                raise _Fault(f"no whole reply within {self._timeout:g} s") from None
            billed = 0.0 if isinstance(cause, aiohttp.ClientConnectorError) else most
            raise _Fault(f"no connection ({type(cause).__name__})") from None
        except UnicodeEncodeError:
            billed = 0.0
            raise _Fault("the prompt holds half a surrogate pair", again=False) from None
        except (_Fault, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - row border: whatever the transport raises mid-body
            raise _Fault(f"the connection broke ({type(error).__name__})") from None
        finally:
            self._n_under_way -= 1
            self._settle(most, billed)

    def _without_key(self, raw: bytearray) -> bytearray:
        """The reply; a server that repeats the key in it does not put it into the store or an artifact."""
        return raw if self._key == _NO_KEY else raw.replace(self._key.encode(), b"[key]")

    # --- money ---

    def _most(self, body: Mapping[str, Any], batch: bool) -> float:
        """The most that a request can cost, in US dollars; 0 where the price is not known."""
        n_new = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        return cost(self._model, most_prompt_tokens(body["messages"]), n_new, self._prices, batch) or 0.0

    async def _taken(self, body: Mapping[str, Any]) -> float:
        most = self._most(body, batch=False)
        while most:
            try:
                self._account.take(most)
                break
            except BudgetExceeded:
                # Requests under way mostly cost far less than was taken for them, and give the rest back.
                if not self._n_under_way:
                    raise
                await asyncio.sleep(_SETTLING_SECONDS)
        return most

    def _settle(self, taken: float, billed: float) -> None:
        if taken:
            self.cost["usd"] += billed
            if billed != taken:
                self._account.give_back(taken - billed)

    def _count(self, content: Mapping[str, Any], most: float, *, batch: bool) -> float:
        """Count a reply's tokens; what they cost, or ``most`` where the reply does not say how many they were."""
        usage = _usage(content)
        n_prompt, n_new = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not isinstance(n_prompt, int) or not isinstance(n_new, int):
            return most
        self.cost["prompt_tokens"] += n_prompt
        self.cost["completion_tokens"] += n_new
        return cost(self._model, n_prompt, n_new, self._prices, batch) or 0.0

    # --- batches ---

    async def _in_batches(
        self,
        client: openai.AsyncOpenAI,
        open_: Mapping[str, dict[str, Any]],
        received: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
        keep: Callable[[str, dict[str, Any] | _Fault], None],
    ) -> None:
        """Ask ``open_`` through files; what earlier runs sent is awaited first. Faults that may pass are sent again."""
        assert self._batches is not None
        batches = Batches(
            client,
            self._batches,
            url=self._url,
            model=self._model,
            poll_seconds=self._poll,
            max_retries=self._max_retries,
            backoff_seconds=self._backoff,
            show=self._show,
        )
        left = dict(open_)
        n_rounds: Counter[str] = Counter()

        async def collect(sent: Sent) -> None:
            billed = 0.0
            for key, status, content in await batches.results(sent):
                if status == 200:
                    billed += self._count(content if isinstance(content, dict) else {}, 0.0, batch=True)
                if key not in left:
                    continue
                n_rounds[key] += 1
                try:
                    if status != 200 or not isinstance(content, dict):
                        raise _Fault(f"HTTP {status} in a batch", again=may_pass(status))
                    self._check(content)
                    keep(key, received(content, left[key]))
                except _Fault as fault:
                    if fault.again and n_rounds[key] <= self._max_retries:
                        self.cost["n_retries"] += 1
                        continue
                    keep(key, fault)
                del left[key]
            # Only now: until every answer is stored, a killed run must find the batch again.
            batches.forget(sent)
            self._settle(sent.taken_usd, billed)

        for sent in batches.under_way(list(left)):
            known = await batches.adopt(sent)
            if known is None:
                self._account.give_back(sent.taken_usd)
            else:
                await collect(known)
        n_sends = 0
        while left:
            n_sends += 1
            if n_sends > self._max_retries + 1 + len(open_):
                raise ModelError(f"openai backend, model {self._model}", "batches end without answers", got=len(left))
            bodies = {key: ask["body"] | (ask.get("extra") or {}) for key, ask in left.items()}
            part, taken = self._affordable(next(parts(bodies)))
            self.cost["n_calls"] += len(part)
            await collect(await batches.send(part, taken))

    def _affordable(self, part: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Mapping[str, Any]], float]:
        """As many of these requests, from the first on, as the budget has room for, and what was taken for them."""
        chosen: dict[str, Mapping[str, Any]] = {}
        taken = 0.0
        limit = self._account.limit_usd
        room = math.inf if limit is None else limit - self._account.spent_usd()
        for key, body in part.items():
            most = self._most(body, batch=True)
            if chosen and taken + most > room:
                break
            chosen[key] = body
            taken += most
        if taken:
            self._account.take(taken)
        return chosen, taken

    def _status_fault(self, error: openai.APIStatusError) -> _Fault:
        status = error.status_code
        code = error.body.get("code") if isinstance(error.body, dict) else None
        place = f"openai backend, model {self._model}"
        if status in (401, 403):
            raise ModelError(
                place, "the server refuses the key", got=f"HTTP {status}", next_step="check OPENAI_API_KEY"
            ) from None
        if status == 404:
            raise ModelError(
                place, "the server has no such model or path", got="HTTP 404", next_step="check model and base_url"
            ) from None
        if code == "insufficient_quota":
            raise ModelError(
                place, "the account's quota is exhausted", next_step="top it up and run again: finished work is kept"
            ) from None
        if 300 <= status < 400:
            raise ModelError(
                place,
                "the server redirects elsewhere",
                got=f"HTTP {status}",
                next_step="set base_url to the final address",
            ) from None
        again = may_pass(status)
        return _Fault(f"HTTP {status}", again=again, wait=_retry_after(error.response.headers), refusal=not again)

    def _check(self, content: dict[str, Any]) -> None:
        answered = content.get("model")
        if isinstance(answered, str) and answered and not _same_model(self._model, answered):
            raise _Fault("another model answered")
        choices = content.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise _Fault("the reply holds no choice")

    def _read_reply(self, content: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
        choice = content["choices"][0]
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else None
        finish = choice.get("finish_reason")
        if finish == "content_filter":
            raise _Fault("the server's content filter withheld the reply", again=False)
        if isinstance(message, dict) and message.get("refusal") and not text:
            text = message["refusal"]
        if not isinstance(text, str) or not text.strip():
            raise _Fault("the reply is empty")
        if finish not in ("stop", "length"):
            raise _Fault("the reply does not say how it ended")
        usage = _usage(content)
        n_new = usage.get("completion_tokens")
        n_asked = ask["n_new"]
        if (n_new if isinstance(n_new, int) else len(text) / _CHARACTERS_PER_TOKEN) > n_asked:
            raise _Fault(f"the reply is longer than the {n_asked} tokens asked for")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Fault("the reply holds half a surrogate pair") from None
        prefix = ask["prefix"]
        # A server that answers the last message instead of going on from it often repeats its words.
        text = text[len(prefix) :] if prefix and text.startswith(prefix) else text
        text = text.rstrip() if prefix else text.strip()
        if not text:
            raise _Fault("the reply is empty")
        n_prompt = usage.get("prompt_tokens")
        return {
            "text": text,
            "finish_reason": finish,
            "prompt_tokens": n_prompt if isinstance(n_prompt, int) else None,
            "completion_tokens": n_new if isinstance(n_new, int) else None,
        }


# --- small parts ------------------------------------------------------------------------------------------------------


def _require_safe(url: str, allow_insecure: bool) -> None:
    parts = urlsplit(url)
    place = "base_url"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ParamsError(place, "is not the address of a server", expected="http(s)://HOST[:PORT]/v1")
    if parts.username or parts.password or parts.query:
        # Not quoted: whatever stands there may be a secret.
        raise ParamsError(place, "holds credentials or a query", expected="the key in OPENAI_API_KEY only")
    if parts.scheme == "http" and not _is_loopback(url) and not allow_insecure:
        raise ParamsError(
            place,
            "plain http to another machine sends the prompts and the key in the clear",
            got=f"http://{parts.hostname}",
            expected="https, or an address on this machine",
            next_step="set servers.allow_insecure: true if the network in between is yours",
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _digest(ask: Mapping[str, Any]) -> str:
    content = json.dumps(ask, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _with_prefix(dialogue: Dialogue, prefix: str) -> list[dict[str, str]]:
    return messages(dialogue) + ([{"role": "assistant", "content": prefix}] if prefix else [])


def _same_model(asked: str, answered: str) -> bool:
    """Whether the names mean one model: servers answer with a dated name, a revision or the file's last part.

    >>> _same_model("gpt-4o", "gpt-4o-2024-08-06"), _same_model("/models/a", "a@main"), _same_model("gpt-4o", "gpt-3.5")
    (True, True, False)
    """
    one, other = (name.casefold().rstrip("/") for name in (asked, answered))
    other = other.rsplit("@", 1)[0] if "@" in other else other
    last = one.rsplit("/", 1)[-1].rsplit("@", 1)[0]
    return other == one or other.startswith(f"{one}-") or other.rsplit("/", 1)[-1] == last


def _parsed(raw: bytearray, kind: str) -> dict[str, Any]:
    if "json" not in kind:
        said = re.match(r"[a-z]{1,20}/[a-z.+]{1,20}(?=;|$)", kind)
        raise _Fault(f"the reply is {said[0] if said else 'of no known type'}, not JSON")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise _Fault("the reply is not whole JSON") from None
    if not isinstance(content, dict):
        raise _Fault("the reply is no JSON object")
    return content


def _read_top(content: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    top = _top(content)
    if not top:
        raise _Fault("the reply holds no log-probabilities")
    return {"top": top}


def _usage(content: Mapping[str, Any]) -> dict[str, Any]:
    """The counts that a reply gives, as far as they are counts."""
    usage = content.get("usage")
    given = usage if isinstance(usage, dict) else {}
    return {name: n for name, n in given.items() if type(n) is int and 0 <= n < _MOST_TOKENS}


def _top(content: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The likeliest first tokens with their log-probabilities; empty where the server gives none."""
    try:
        first = content["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        top = [(str(item["token"]), float(item["logprob"])) for item in first]
        # Rounding may give a hair above 0; what is no logarithm of a probability makes the whole list untrue. One of
        # -infinity is a token that a server's filter took out.
        return [(token, min(p, 0.0)) for token, p in top if p > -math.inf] if all(p < 1e-3 for _, p in top) else []
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def _choice(top: Sequence[Sequence[Any]], options: Sequence[str]) -> Choice:
    said: dict[str, float] = {}
    for token, logprob in top:
        said[token.strip()] = said.get(token.strip(), 0.0) + math.exp(logprob)
    names = [option.strip() for option in options]
    if not any(said.get(name, 0.0) > 0 for name in names):
        return Choice(None, None, f"none of the options is among the {len(top)} likeliest tokens")
    least = min(float(logprob) for _, logprob in top)
    logprobs = tuple(math.log(said[name]) if said.get(name, 0.0) > 0 else least for name in names)
    return Choice(logprobs, math.fsum(said.get(name, 0.0) for name in names))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after")
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _stored_completion(value: Mapping[str, Any]) -> Completion:
    return Completion(value["text"], value["finish_reason"], value["prompt_tokens"], value["completion_tokens"])


def _failed(reason: str) -> Completion:
    return Completion.failed(reason)

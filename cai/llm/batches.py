"""OpenAI's Batch API: many requests in one file, answered within 24 hours at half the price.

Plumbing: it decides when and how requests travel, not what they ask; answers go into the same store as all others.

What is under way is written down in ``work/batches``, one file a batch, before anything is sent. A run that was killed
at any moment, and started again, waits for the batch that it had sent: by its id, or, where it died between sending
and writing the id down, by the tag that the batch carries in its metadata. So nothing is sent, or paid, twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cai.errors import ModelError
from cai.llm.cache import write_atomically
from cai.llm.model import Progress

if TYPE_CHECKING:
    import openai

log = logging.getLogger("cai.llm.batches")

ENDPOINT: Final = "/v1/chat/completions"
# OpenAI's limits are 50,000 requests and 200 MB a file.
MOST_REQUESTS = 50_000
_MOST_BYTES = 100 << 20
_TAG = "cai"
_OVER = ("completed", "expired", "cancelled")
LONGEST_WAIT_SECONDS = 60.0
_LISTED = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Sent:
    """One batch under way: which requests are in it, and what was taken from the account for it."""

    tag: str
    url: str
    model: str
    keys: tuple[str, ...]
    taken_usd: float = 0.0
    batch_id: str | None = None


class Batches:
    """The batches of one model at one server, and what is known of them on disk."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        folder: Path,
        *,
        url: str,
        model: str,
        poll_seconds: float,
        max_retries: int,
        backoff_seconds: float,
        show: Progress,
    ) -> None:
        self._client, self._folder, self._url, self._model = client, folder, url, model
        self._poll, self._max_retries, self._backoff, self._show = poll_seconds, max_retries, backoff_seconds, show

    def under_way(self, keys: Sequence[str]) -> list[Sent]:
        """The batches of earlier runs that hold some of these requests."""
        wanted = set(keys)
        found = []
        for file in sorted(self._folder.glob("*.json")):
            try:
                content = json.loads(file.read_bytes())
                one = Sent(**(content | {"keys": tuple(content["keys"])}))
            except (OSError, ValueError, TypeError, KeyError):
                continue
            if (one.url, one.model) == (self._url, self._model) and wanted & set(one.keys):
                found.append(one)
        return found

    async def send(self, bodies: Mapping[str, Mapping[str, Any]], taken_usd: float) -> Sent:
        """Upload these requests (key -> body) and start a batch. Raises ModelError when the server takes no batches."""
        sent = Sent(uuid.uuid4().hex, self._url, self._model, tuple(bodies), taken_usd)
        lines = [
            json.dumps({"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body})
            for key, body in bodies.items()
        ]
        self._write(sent)
        content = ("\n".join(lines) + "\n").encode()
        file = await self._steadily(
            lambda: self._client.files.create(file=(f"{sent.tag}.jsonl", content), purpose="batch")
        )

        async def create() -> str:
            # A try whose answer was lost may have started the batch all the same.
            known = await self._find(sent.tag) if tries else None
            tries.append(1)
            if known is not None:
                return known
            started = await self._client.batches.create(
                input_file_id=file.id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={_TAG: sent.tag},
            )
            return started.id

        tries: list[int] = []
        sent = Sent(**(asdict(sent) | {"batch_id": await self._steadily(create)}))
        self._write(sent)
        log.info("batch %s: %d requests sent", sent.batch_id, len(sent.keys))
        return sent

    async def adopt(self, sent: Sent) -> Sent | None:
        """The same batch with its id; None where it was never started."""
        if sent.batch_id is not None:
            return sent
        batch_id = await self._steadily(lambda: self._find(sent.tag))
        if batch_id is None:
            self.forget(sent)
            return None
        found = Sent(**(asdict(sent) | {"batch_id": batch_id}))
        self._write(found)
        return found

    async def results(self, sent: Sent) -> list[tuple[str, int, Any]]:
        """(key, HTTP status, body) of every answered request, once the batch is over.

        Requests that it did not get to (an expired batch) are missing. Raises ModelError when the server refused the
        whole file.
        """
        batch_id = str(sent.batch_id)
        while True:
            state = await self._steadily(lambda: self._client.batches.retrieve(batch_id))
            counts = state.request_counts
            self._show(counts.completed + counts.failed if counts else 0, len(sent.keys))
            if state.status in _OVER:
                break
            if state.status == "failed":
                self.forget(sent)
                codes = sorted({str(one.code) for one in (state.errors.data or [])} if state.errors else set())
                raise ModelError(
                    f"batch {batch_id}",
                    "the server refused it",
                    got=", ".join(codes) or "no reason given",
                    next_step="set servers.batch: false, or mend what it names; finished work is kept",
                )
            await asyncio.sleep(self._poll)
        found = []
        for file_id in (state.output_file_id, state.error_file_id):
            if file_id:
                content = await self._steadily(partial(self._client.files.content, file_id))
                found += list(_lines(content.content))
        return found

    def forget(self, sent: Sent) -> None:
        """Nothing; the batch is no longer under way: its answers are stored, or it gave none."""
        (self._folder / f"{sent.tag}.json").unlink(missing_ok=True)

    def _write(self, sent: Sent) -> None:
        write_atomically(self._folder / f"{sent.tag}.json", json.dumps(asdict(sent)).encode())

    async def _find(self, tag: str) -> str | None:
        n_seen = 0
        async for one in self._client.batches.list(limit=100):
            n_seen += 1
            if (one.metadata or {}).get(_TAG) == tag:
                return one.id
            if n_seen >= _LISTED:
                break
        return None

    async def _steadily(self, call: Callable[[], Awaitable[T]]) -> T:
        """What ``call`` gives, tried again with backoff and jitter while the fault may pass."""
        import openai

        n_tries = 0
        while True:
            n_tries += 1
            try:
                return await call()
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                status = error.status_code if isinstance(error, openai.APIStatusError) else None
                if (status is not None and not may_pass(status)) or n_tries > self._max_retries:
                    raise ModelError(
                        f"openai backend, model {self._model}",
                        "the server's Batch API cannot be used",
                        got="no connection" if status is None else f"HTTP {status}",
                        expected="/v1/files and /v1/batches",
                        next_step="set servers.batch: false, or run again: what was sent is kept and waited for",
                    ) from None
            wait = min(self._backoff * 2 ** (n_tries - 1), LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.5)
            await asyncio.sleep(wait)


def may_pass(status: int) -> bool:
    """Whether a request that ended with this HTTP status is worth another try.

    >>> may_pass(429), may_pass(503), may_pass(400)
    (True, True, False)
    """
    return status in (408, 409, 425, 429) or status >= 500


def parts(bodies: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Mapping[str, Any]]]:
    """The requests in files that the server takes: at most 50,000 and 100 MiB each."""
    part: dict[str, Mapping[str, Any]] = {}
    n_bytes = 0
    for key, body in bodies.items():
        size = len(json.dumps(body)) + 200
        if part and (len(part) >= MOST_REQUESTS or n_bytes + size > _MOST_BYTES):
            yield part
            part, n_bytes = {}, 0
        part[key] = body
        n_bytes += size
    if part:
        yield part


def _lines(content: bytes) -> Iterator[tuple[str, int, Any]]:
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            response = row.get("response") or {}
            yield str(row["custom_id"]), int(response.get("status_code") or 500), response.get("body")
        except (ValueError, KeyError, TypeError, AttributeError):
            # A line that cannot be read answers no request; the request it stood for is asked again.
            continue

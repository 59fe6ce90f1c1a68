"""What a server's tokens cost, and one account that no run may overdraw.

Plumbing: money decides whether a request is sent, never what comes back.

The account is one small file in the work directory, one a run: all stages of a dvc command share it. Before a request
is sent, the most that it can cost is taken from the account; when the reply has arrived, what it did not cost is given
back. So parallel stages cannot pass the budget together, and what a killed stage had under way counts as spent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.errors import ArtifactError, BudgetExceeded
from cai.llm.cache import locked, write_atomically

BATCH_DISCOUNT = 0.5
"""OpenAI's Batch API costs half of the usual price."""

# Roles, separators and the reply's opening: OpenAI's chat format adds 3 to 4 tokens a message.
_TOKENS_A_MESSAGE = 8


def cost(
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    prices: Mapping[str, Mapping[str, Any]],
    batch: bool = False,
) -> float | None:
    """US dollars for so many tokens of a model; None where ``prices`` does not know what the model costs.

    Args:
        model: the name that the server knows the model by.
        prompt_tokens: tokens sent.
        completion_tokens: tokens drawn.
        prices: ``servers.prices`` of params.yaml: model -> {prompt, completion: USD per million tokens or null}.
        batch: sent through the Batch API, at half the price.

    >>> cost("m", 2_000_000, 100_000, {"m": {"prompt": 2.5, "completion": 10.0}}, batch=True)
    3.0
    """
    price = prices.get(model)
    if price is None or price.get("prompt") is None or price.get("completion") is None:
        return None
    full = (prompt_tokens * price["prompt"] + completion_tokens * price["completion"]) / 1e6
    return float(full * BATCH_DISCOUNT if batch else full)


def most_prompt_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """No fewer tokens than any byte-level tokenizer makes of these messages: one a byte, and the template's own."""
    return sum(len(one["content"].encode("utf-8", "surrogatepass")) + _TOKENS_A_MESSAGE for one in messages) + 8


class Account:
    """What a run spent so far, and what it may."""

    def __init__(self, path: Path, limit_usd: float | None = None) -> None:
        self.path, self.limit_usd = path, limit_usd

    def spent_usd(self) -> float:
        """Everything taken and not given back, in US dollars."""
        try:
            return float(json.loads(self.path.read_bytes())["usd"])
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Taking an unreadable account for an empty one would spend the budget a second time.
            raise ArtifactError(
                self.path.name,
                "the account of what was spent cannot be read",
                got=type(error).__name__,
                next_step=f"mend {self.path}, or remove it to start counting at zero",
            ) from None

    def take(self, usd: float) -> None:
        """Nothing; the account then holds ``usd`` less. Raises BudgetExceeded when it has not so much."""
        with self._held():
            spent = self.spent_usd()
            if self.limit_usd is not None and spent + usd > self.limit_usd:
                raise BudgetExceeded(
                    "budget.usd",
                    "the next request could pass it",
                    got=f"{spent:.4f} USD spent or under way, up to {usd:.4f} USD for the next request",
                    expected=f"at most {self.limit_usd:g} USD",
                    next_step="raise budget.usd and run again: finished work is kept",
                )
            self._write(spent + usd)

    def give_back(self, usd: float) -> None:
        """Nothing; the account then holds ``usd`` more."""
        with self._held():
            self._write(max(0.0, self.spent_usd() - usd))

    def _held(self) -> Any:
        return locked(self.path.with_suffix(".lock"))

    def _write(self, usd: float) -> None:
        write_atomically(self.path, json.dumps({"usd": round(usd, 9)}).encode())

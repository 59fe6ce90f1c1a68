"""What can go wrong, said so that a reader can act on it.

    CaiError
    ├── ParamsError      params.yaml or a command's arguments
    ├── ArtifactError    a file that is missing, broken, or not of its declared shape
    ├── GateFailed       data that a Great Expectations suite refused
    ├── ModelError       weights, tokenizer or server that cannot be used
    └── BudgetExceeded   the next call would cost more than allowed

A failed *row* is data (``finish_reason`` "error"); only a failed *set-up* raises.
"""

from __future__ import annotations


class CaiError(Exception):
    """A message in five parts: place, fact, got, expected, next step.

    >>> print(CaiError("params.yaml: clean.variant", "no such variant", got="rulez", expected="none, rules"))
    params.yaml: clean.variant: no such variant; got rulez; expected none, rules
    """

    def __init__(
        self,
        place: str,
        fact: str,
        *,
        got: object = None,
        expected: object = None,
        next_step: str | None = None,
    ) -> None:
        self.place, self.fact, self.got, self.expected, self.next_step = place, fact, got, expected, next_step
        parts = [f"{place}: {fact}"]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if next_step is not None:
            parts.append(f"next: {next_step}")
        super().__init__("; ".join(parts))


class ParamsError(CaiError):
    """params.yaml, a recipe or a command line says something impossible."""


class ArtifactError(CaiError):
    """A file is missing, unreadable, or not of the shape it declares."""


class GateFailed(CaiError):
    """An artifact did not meet its expectations; nothing downstream may use it."""


class ModelError(CaiError):
    """A model, tokenizer or server cannot be opened or does not do what is asked."""


class BudgetExceeded(CaiError):
    """The next request would pass the budget in params.yaml; finished work is kept."""

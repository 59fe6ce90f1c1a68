"""Runs checks through Great Expectations 1.24, with its traps closed.

Measured traps: column-map expectations pass on empty and all-null columns; NaN counts as null; a metric that raises is
a result, not an exception; results come in another order; example values would carry data into the result.
"""

from __future__ import annotations

import functools
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cai.quality.checking.checks import Check
from cai.quality.checking.expectations import great_expectations


@dataclass(frozen=True)
class Outcome:
    """What one check found. ``bad``: positions of unexpected rows in its frame; ``error``: what went wrong."""

    passed: bool
    observed: Any
    bad: tuple[int, ...] = ()
    error: str | None = None


def validate(frames: Mapping[str, pl.DataFrame], checks: Sequence[Check]) -> list[Outcome]:
    """The outcome of every check, in the order of the checks."""
    gxe, frame_of = _loaded()
    found: dict[int, Outcome] = {}
    for frame in dict.fromkeys(check.frame for check in checks):
        data = frames[frame]
        places = []
        for place, check in enumerate(checks):
            if check.frame != frame:
                continue
            early = _not_a_value(data, check)
            if early is None:
                places.append(place)
            else:
                found[place] = early
        if not places:
            continue
        asked = [
            getattr(gxe, checks[place].expectation)(**checks[place].arguments, meta={"place": place}).configuration
            for place in places
        ]
        # COMPLETE for the positions; the values that come with it are flags, numbers and keys, and go no further.
        form = {"result_format": "COMPLETE", "partial_unexpected_count": 0, "return_unexpected_index_query": False}
        for result in frame_of(data.to_pandas()).graph_validate(asked, runtime_configuration={"result_format": form}):
            found[result.expectation_config.meta["place"]] = _outcome(result)
    return [found[place] for place in range(len(checks))]


@functools.cache
def _loaded() -> tuple[Any, Any]:
    # A metric that raises is logged with its traceback besides; the outcome has the message.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    return great_expectations()


def _not_a_value(data: pl.DataFrame, check: Check) -> Outcome | None:
    """The failure of a check whose column holds null or NaN, on which Great Expectations would pass or be silent."""
    column = check.arguments.get("column")
    if column is None or column not in data.columns:
        return None
    series = data.get_column(column)
    strange = series.is_null()
    if series.dtype.is_float():
        strange = strange | (series.is_nan() | series.is_infinite()).fill_null(True)
    if not strange.any():
        return None
    bad = tuple(int(i) for i in strange.arg_true())
    return Outcome(False, None, bad, f"{len(bad)} of {data.height} values are null, NaN or infinite")


def _outcome(result: Any) -> Outcome:
    error = _raised(result.exception_info)
    if error is not None:
        return Outcome(False, None, (), error)
    found = result.result
    if "unexpected_count" in found:
        bad = tuple(int(i) for i in found.get("unexpected_index_list") or ())
        return Outcome(bool(result.success), int(found["unexpected_count"]), bad)
    observed = found.get("observed_value")
    if isinstance(observed, list):
        return Outcome(bool(result.success), len(observed))
    return Outcome(bool(result.success), number(observed))


def _raised(info: Any) -> str | None:
    """The message of an exception inside a metric; None when none was raised."""
    if not info:
        return None
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    messages = []
    for one in info.values():
        text = one["exception_message"] if isinstance(one, dict) else str(one)
        if isinstance(one, str) and one.lstrip().startswith("{"):
            text = json.loads(one).get("exception_message", one)
        messages.append(str(text))
    return "; ".join(dict.fromkeys(messages)) or None


def number(value: Any) -> int | float | None:
    """The value as a plain number with six decimals, so that the same data gives the same bytes; None for NaN."""
    if value is None:
        return None
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value == int(value) and abs(value) < 1e15 else round(value, 6)
    return int(value)

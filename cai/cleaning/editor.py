"""The guarded LLM editor: it names numbers of sentences to delete; what is deleted is decided here.

A word-level check that text was "only deleted" is not safe: "You should not mix bleach and ammonia" passes it without its
"not". So whole sentences only, a budget, and no sentence with a negation, refusal, number or condition unless rules marked
it or what it says still stands elsewhere. Whatever a model replies, nothing of its words enters a text.
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from cai.cleaning.clean import Cleaned, clean_row
from cai.cleaning.edits import apply, perform
from cai.cleaning.plan import Plan
from cai.cleaning.rules.closings import is_closing
from cai.cleaning.rules.near_repeats import LOADED, alike
from cai.cleaning.view import Mark, Row, View
from cai.llm.model import Model, Request, Sampling
from cai.prompting.editing import PREFIX, does_it_answer, which_to_delete
from cai.text.meta import grade

RULE = "editor"
TRIES = 2
BUDGET = 0.4
"""The largest share of a text's words that the editor may delete."""
UNSETTLED = frozenset({"still_repeats", "unsettled"})
"""Reasons for which rules dropped a row that an editor may still save."""
_NUMBERS = re.compile(
    r"(?:DELETE\s*:)?\s*(?:(none)|\[?\d{1,4}\]?(?:\s*(?:,|and|,\s*and)\s*\[?\d{1,4}\]?)*)\s*\.?", re.I
)
_CARES = re.compile(r"\d|n['’]t\b", re.I)
_REFUSES = frozenset(
    [
        "refuse",
        "decline",
        "unable",
        "sorry",
        "apologize",
        "apologise",
        "cannot",
        "avoid",
        "stop",
        "warning",
        "danger",
        "dangerous",
        "illegal",
        "emergency",
        "poison",
        "call",
        "never",
    ]
)


class Verdict(NamedTuple):
    """What became of one row at the editor."""

    key: str
    status: Literal["edited", "nothing_to_delete", "rejected", "failed"]
    reason: str | None
    tries: int
    answers: float | None = None
    """the probability that the text answers its prompt; None where nobody asked"""


def doubtful(cleaned: Cleaned) -> bool:
    """Whether a row goes to the editor: rules marked a place, or could not settle the row."""
    return bool(cleaned.flags) if cleaned.text is not None else cleaned.reason in UNSETTLED


def edit_rows(
    pairs: Sequence[tuple[Row, Cleaned]],
    plan: Plan,
    model: Model,
    sampling: Sampling,
    *,
    budget: float = BUDGET,
    tries: int = TRIES,
    answers: Literal["off", "record", "drop"] = "off",
) -> tuple[list[Cleaned], list[Verdict]]:
    """Every row again, doubtful ones edited where a reply was accepted, and one verdict a row that was asked about.

    A rejected reply is asked for again; after the last one the rules' result stands. ``answers`` asks of every kept
    text whether it answers its prompt: "drop" drops those that rather do not.
    """
    results = [cleaned for _, cleaned in pairs]
    texts = {
        place: cleaned.text if cleaned.text is not None else apply(cleaned.edits, row.text)
        for place, (row, cleaned) in enumerate(pairs)
        if doubtful(cleaned)
    }
    verdicts: dict[int, Verdict] = {}
    open_ = list(texts)
    for attempt in range(tries):
        if not open_:
            break
        views = {place: View(texts[place]) for place in open_}
        requests = [_request(pairs[place], views[place], sampling, attempt) for place in open_]
        again = []
        for place, completion in zip(open_, model.generate(requests), strict=True):
            row, cleaned = pairs[place]
            if completion.text is None:
                verdicts[place] = Verdict(row.key, "failed", completion.error, attempt + 1)
                again.append(place)
                continue
            numbers = parsed(completion.text)
            why = "unparsed" if numbers is None else rejection(views[place], numbers, cleaned.flags, budget)
            if why is not None:
                verdicts[place] = Verdict(row.key, "rejected", why, attempt + 1)
                again.append(place)
            elif not numbers:
                verdicts[place] = Verdict(row.key, "nothing_to_delete", None, attempt + 1)
            else:
                results[place] = _edited(row, cleaned, views[place], numbers, plan)
                verdicts[place] = Verdict(row.key, "edited", results[place].reason, attempt + 1)
        open_ = again
    if answers != "off":
        _ask_for_answers(pairs, results, verdicts, model, drop=answers == "drop")
    return results, [verdicts[place] for place in sorted(verdicts)]


def parsed(reply: str) -> list[int] | None:
    """The numbers of a reply that is a list of numbers and nothing else; [] for "none"; None for any other reply.

    >>> parsed(" 2, 5"), parsed("DELETE: none"), parsed("Sure! I deleted 2.")
    ([2, 5], [], None)
    """
    match = _NUMBERS.fullmatch(reply.strip())
    if match is None:
        return None
    return [] if match.group(1) else sorted({int(number) for number in re.findall(r"\d+", reply)})


def rejection(view: View, numbers: Sequence[int], marks: Sequence[Mark], budget: float = BUDGET) -> str | None:
    """Why these sentences (numbered from 1) may not be deleted; None where they may."""
    if any(not 1 <= number <= len(view.spans) for number in numbers):
        return "out_of_range"
    removed = {number - 1 for number in numbers}
    if not removed:
        return None
    kept = [place for place in range(len(view.spans)) if place not in removed]
    if not any(
        view.sizes[place] >= 3 and not is_closing(view.words[place]) and grade(_piece(view, place)) < 2
        for place in kept
    ):
        return "nothing_left"
    marked = {
        place
        for place in removed
        if any(mark.start < view.spans[place][1] and view.spans[place][0] < mark.end for mark in marks)
    }
    if sum(view.sizes[place] for place in removed) > budget * view.n_words:
        return "over_budget"
    for place in removed:
        if place in marked and grade(_piece(view, place)) != 1:
            continue
        if grade(_piece(view, place)) == 2 or not _cares(view, place):
            continue
        if not any(
            view.keys[other] == view.keys[place] or alike(view.words[place], view.words[other]) for other in kept
        ):
            return "loses_meaning"
    return None


def metrics(verdicts: Sequence[Verdict], n_rows: int) -> dict[str, object]:
    """Acceptance of the editor's replies, with reasons: the number to look at before trusting an editor."""
    asked = [verdict for verdict in verdicts if verdict.tries]
    accepted = sum(verdict.status in ("edited", "nothing_to_delete") for verdict in asked)
    judged = [verdict.answers for verdict in verdicts if verdict.answers is not None]
    return {
        "n_rows": n_rows,
        "n_asked": len(asked),
        "n_accepted": accepted,
        "accepted_share": accepted / len(asked) if asked else None,
        "n_edited": sum(verdict.status == "edited" for verdict in asked),
        "n_second_tries": sum(verdict.tries > 1 for verdict in asked),
        "rejected": dict(
            sorted(Counter(verdict.reason or "" for verdict in asked if verdict.status == "rejected").items())
        ),
        "n_failed": sum(verdict.status == "failed" for verdict in asked),
        "n_answers_judged": len(judged),
        "answers_share": sum(share >= 0.5 for share in judged) / len(judged) if judged else None,
    }


def _piece(view: View, place: int) -> str:
    start, end = view.spans[place]
    return view.text[start:end]


def _cares(view: View, place: int) -> bool:
    """Whether a sentence holds a negation, a refusal, a number or a condition."""
    return bool(_CARES.search(_piece(view, place))) or any(
        word in LOADED or word in _REFUSES for word in view.words[place]
    )


def _request(pair: tuple[Row, Cleaned], view: View, sampling: Sampling, attempt: int) -> Request:
    row, cleaned = pair
    pieces = [view.text[start:end] for start, end in view.spans]
    marked = [
        place + 1
        for place, (start, end) in enumerate(view.spans)
        if any(mark.start < end and start < mark.end for mark in cleaned.flags)
    ]
    return Request(
        which_to_delete(row.prompt, pieces, marked), sampling, ("clean", row.key, "editor", str(attempt)), PREFIX
    )


def _edited(row: Row, cleaned: Cleaned, view: View, numbers: Sequence[int], plan: Plan) -> Cleaned:
    """The row with the deletion made and the rules run over what is left."""
    text, made = perform(view.without({number - 1 for number in numbers}), view.text, RULE, len(cleaned.edits))
    again = clean_row(row._replace(text=text), plan)
    first = len(cleaned.edits) + len(made)
    later = tuple(edit._replace(step=first + edit.step) for edit in again.edits)
    return Cleaned(again.text, (*cleaned.edits, *made, *later), again.reason, again.rule, again.flags)


def _ask_for_answers(
    pairs: Sequence[tuple[Row, Cleaned]],
    results: list[Cleaned],
    verdicts: dict[int, Verdict],
    model: Model,
    *,
    drop: bool,
) -> None:
    places = [place for place, cleaned in enumerate(results) if cleaned.text is not None and pairs[place][0].prompt]
    if not places:
        return
    asked = [does_it_answer(pairs[place][0].prompt or "", results[place].text or "") for place in places]
    for place, choice in zip(places, model.choose(asked, ("Yes", "No")), strict=True):
        share = (
            None if choice.logprobs is None else 1 / (1 + math.exp(min(50.0, choice.logprobs[1] - choice.logprobs[0])))
        )
        row = pairs[place][0]
        verdict = verdicts.get(place, Verdict(row.key, "nothing_to_delete", None, 0))
        verdicts[place] = verdict._replace(answers=share)
        if drop and share is not None and share < 0.5:
            results[place] = Cleaned(None, results[place].edits, "does_not_answer", RULE)

"""The guarded LLM editor: it names numbers of sentences to delete; what is deleted is decided here.

A word-level check that text was "only deleted" is not safe: "You should not mix bleach and ammonia" passes it without its
"not". So whole sentences only, a budget, and no sentence with a negation, refusal, number or condition unless rules marked
it or what it says still stands elsewhere. Whatever a model replies, nothing of its words enters a text.
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cai.cleaning.clean import META_SHARE, Cleaned, clean_row
from cai.cleaning.edits import apply, perform
from cai.cleaning.plan import EDITOR as RULE
from cai.cleaning.plan import Plan
from cai.cleaning.rules import META
from cai.cleaning.rules.closings import is_closing
from cai.cleaning.rules.near_repeats import LOADED, alike
from cai.cleaning.view import Mark, Row, View
from cai.llm.model import Completion, Model, Request, Sampling
from cai.prompting.editing import PREFIX, does_it_answer, which_to_delete
from cai.text.meta import grade
from cai.text.sentences import key, size

TRIES = 2
BUDGET = 0.4
"""The largest share of a text's words that the editor may delete."""
UNSETTLED = frozenset({"still_repeats", "unsettled", "flagged"})
"""Reasons for which rules dropped a row that an editor may still save; "flagged" is a rule's that only drops. A copy, a stub or
an empty row is not among them: no deletion mends it."""
_NUMBERS = re.compile(
    r"(?:DELETE\s*:)?\s*(?:(none)|\[?\d{1,4}\]?(?:\s*(?:,|;|and|,\s*and)\s*\[?\d{1,4}\]?)*)\s*\.?", re.I
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
        "always",
    ]
)


class Verdict(NamedTuple):
    """What became of one row at the editor."""

    key: str
    status: Literal["edited", "nothing_to_delete", "dropped", "rejected", "failed", "not_asked"]
    """"dropped": what the deletion left was dropped by a rule; "not_asked": only the second question was put"""
    reason: str | None
    tries: int
    answers: float | None = None
    """the probability that the text answers its prompt; None where nobody asked or the model could not tell"""


class Edited(NamedTuple):
    """What the editor made of a whole table, and what it is worth."""

    results: list[Cleaned]
    verdicts: list[Verdict]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Editor:
    """A model and how it may edit. ``n_probes``: rows in which a planted sentence shows whether it can."""

    model: Model
    sampling: Sampling
    budget: float = BUDGET
    tries: int = TRIES
    answers: Literal["ignore", "record", "drop"] = "ignore"
    n_probes: int = 0

    def __call__(self, pairs: Sequence[tuple[Row, Cleaned]], plan: Plan) -> Edited:
        """Every row again, with a verdict for each that was asked about."""
        results, verdicts = edit_rows(
            pairs, plan, self.model, self.sampling, budget=self.budget, tries=self.tries, answers=self.answers
        )
        counts = metrics(verdicts, len(pairs))
        counts["probes"] = probe(pairs, self.model, self.sampling, self.n_probes)
        return Edited(results, verdicts, {"model": self.model.name, **counts})


def doubtful(cleaned: Cleaned, text: str | None = None) -> bool:
    """Whether a row goes to the editor: rules marked a place, or dropped the row without having settled it.

    ``text`` is a dropped row's as rules left it. Talk about the answer is worth a question where at least half of the words are
    no such talk; a row that is talk through and through stays dropped.
    """
    if cleaned.text is not None:
        return bool(cleaned.flags)
    if cleaned.reason == "meta_talk" and text:
        view = View(text)
        grades = [grade(_piece(view, place)) for place in range(len(view.spans))]
        strong = sum(size for size, found in zip(view.sizes, grades, strict=True) if found == 2)
        sound = any(size >= 3 and not found for size, found in zip(view.sizes, grades, strict=True))
        return sound and strong <= META_SHARE * view.n_words
    return cleaned.reason in UNSETTLED


def edit_rows(
    pairs: Sequence[tuple[Row, Cleaned]],
    plan: Plan,
    model: Model,
    sampling: Sampling,
    *,
    budget: float = BUDGET,
    tries: int = TRIES,
    answers: Literal["ignore", "record", "drop"] = "ignore",
) -> tuple[list[Cleaned], list[Verdict]]:
    """Every row again, doubtful ones edited where a reply was accepted, and one verdict a row that was asked about.

    A rejected reply is asked for again, with the reason; after the last one the rules' result stands. ``answers`` asks of every
    kept text whether it answers its prompt: "drop" drops those that rather do not.
    """
    results = [cleaned for _, cleaned in pairs]
    views: dict[int, View] = {}
    for place, (row, cleaned) in enumerate(pairs):
        text = cleaned.text if cleaned.text is not None else apply(cleaned.edits, row.text)
        if text.strip() and doubtful(cleaned, text) and _lost_to_meta(row, cleaned) <= META_SHARE:
            views[place] = View(text)
    verdicts: dict[int, Verdict] = {}
    open_ = list(views)
    for attempt in range(tries):
        if not open_:
            break
        requests = [
            _request(pairs[place], views[place], sampling, attempt, verdicts[place].reason if attempt else None)
            for place in open_
        ]
        again = []
        for place, completion in zip(open_, model.generate(requests), strict=True):
            found, verdict = _settled(pairs[place], views[place], completion, plan, budget, attempt + 1)
            verdicts[place] = verdict
            if found is not None:
                results[place] = found
            elif verdict.status in ("rejected", "failed"):
                again.append(place)
        open_ = again
    if answers != "ignore":
        _ask_for_answers(pairs, results, verdicts, model, drop=answers == "drop")
    return results, [verdicts[place] for place in sorted(verdicts)]


def _settled(
    pair: tuple[Row, Cleaned], view: View, completion: Completion, plan: Plan, budget: float, tries: int
) -> tuple[Cleaned | None, Verdict]:
    """What a reply makes of a row (None: nothing), and the verdict."""
    row, cleaned = pair
    if completion.text is None:
        return None, Verdict(row.key, "failed", completion.error, tries)
    numbers = parsed(completion.text)
    # A list that was cut off may end in half a number.
    why = "cut" if completion.finish_reason == "length" else "unparsed" if numbers is None else None
    if why is None and numbers is not None:
        why = rejection(view, numbers, cleaned.flags, budget)
    if why is not None or numbers is None:
        return None, Verdict(row.key, "rejected", why, tries)
    if not numbers:
        return None, Verdict(row.key, "nothing_to_delete", None, tries)
    edited = _edited(row, cleaned, view, numbers, plan)
    if _lost_to_meta(row, edited) > META_SHARE:
        return None, Verdict(row.key, "rejected", "lost_to_meta", tries)
    if edited.text is not None:
        if cleaned.text is None and any(mark.what == "meta" for mark in edited.flags):  # saved, and still such talk
            return None, Verdict(row.key, "rejected", "still_talks", tries)
        return edited, Verdict(row.key, "edited", None, tries)
    if cleaned.text is None:  # it was dropped before, and the deletion does not save it
        return None, Verdict(row.key, "rejected", f"then_{edited.reason}", tries)
    return edited, Verdict(row.key, "dropped", edited.reason, tries)


def parsed(reply: str) -> list[int] | None:
    """The numbers of a reply that is a list of numbers and nothing else; [] for "none"; None for any other reply.

    >>> parsed(" 2, 5"), parsed("DELETE: none"), parsed("Sure! I deleted 2.")
    ([2, 5], [], None)
    """
    match = _NUMBERS.fullmatch(reply.strip().strip("`*").strip())
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
    said = {
        place
        for place in removed
        if any(view.keys[other] == view.keys[place] or alike(view.words[place], view.words[other]) for other in kept)
    }
    # What still stands elsewhere is not lost, so the budget does not count it.
    if sum(view.sizes[place] for place in removed - said) > budget * view.n_words:
        return "over_budget"
    doubted = set(said)
    for place in removed - said:
        found = grade(_piece(view, place))
        if found or place in marked:
            doubted.add(place)
        if found == 2 or (place in marked and found != 1):
            continue
        if _protected(view, place):
            return "protected"
        if _cares(view, place):
            return "loses_meaning"
    # An editor that was asked about doubtful sentences and takes mostly others follows something else than the question.
    if sum(view.sizes[place] for place in removed - doubted) > sum(view.sizes[place] for place in doubted):
        return "beside_the_point"
    return None


def probe(pairs: Sequence[tuple[Row, Cleaned]], model: Model, sampling: Sampling, n: int) -> dict[str, Any]:
    """How often the editor finds one sentence of another row, planted into a text that nobody doubts, and spares the rest.

    The number to look at before an editor is trusted: acceptance alone is full for one that says "none" to everything.
    """
    order = sorted(
        (
            (row, View(cleaned.text))
            for row, cleaned in pairs
            if cleaned.text is not None and not cleaned.flags and row.prompt
        ),
        key=lambda one: hashlib.sha256(one[0].key.encode()).digest(),
    )
    hosts = [(row, view) for row, view in order if len(view.spans) >= 3]
    planted: list[tuple[int, int]] = []
    requests: list[Request] = []
    for place, (row, view) in enumerate(hosts[:n]):
        other, guest = hosts[(place + 1) % len(hosts)]
        pieces = [_piece(guest, one) for one in range(len(guest.spans)) if guest.sizes[one] >= 6]
        pieces = [piece for piece in pieces if not grade(piece)]
        if other.prompt == row.prompt or not pieces:
            continue
        at = 1 + int(hashlib.sha256(row.key.encode()).hexdigest(), 16) % (len(view.spans) - 1)
        own = [_piece(view, one) for one in range(len(view.spans))]
        shown = [*own[:at], pieces[len(pieces) // 2], *own[at:]]
        planted.append((len(own), at + 1))
        requests.append(
            Request(which_to_delete(row.prompt, shown, ()), sampling, ("clean", row.key, "probe", "0"), PREFIX)
        )
    n_found = n_exact = n_own = n_own_named = 0
    for (n_pieces, at), completion in zip(planted, model.generate(requests) if requests else [], strict=True):
        whole = completion.text if completion.finish_reason == "stop" else None
        named = set((None if whole is None else parsed(whole)) or ())
        n_found += at in named
        n_exact += named == {at}
        n_own += n_pieces
        n_own_named += len(named - {at})
    return {
        "n": len(requests),
        "n_found": n_found,
        "n_exact": n_exact,
        "exact_share": n_exact / len(requests) if requests else None,
        "own_named_share": n_own_named / n_own if n_own else None,
    }


def metrics(verdicts: Sequence[Verdict], n_rows: int) -> dict[str, object]:
    """Acceptance of the editor's replies, with reasons: the number to look at before trusting an editor."""
    asked = [verdict for verdict in verdicts if verdict.tries]
    accepted = [verdict for verdict in asked if verdict.status not in ("rejected", "failed")]
    judged = [verdict.answers for verdict in verdicts if verdict.answers is not None]
    return {
        "n_rows": n_rows,
        "n_asked": len(asked),
        "n_accepted": len(accepted),
        "accepted_share": len(accepted) / len(asked) if asked else None,
        "n_accepted_at_once": sum(verdict.tries == 1 for verdict in accepted),
        **{
            f"n_{status}": sum(verdict.status == status for verdict in asked)
            for status in ("edited", "nothing_to_delete", "dropped")
        },
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


def _protected(view: View, place: int) -> bool:
    """Whether a sentence lies in code, a table or a verse, which the lines around it need."""
    start, end = view.spans[place]
    return any(
        region.kind in ("code", "table", "verse") and region.start <= start and end <= region.end
        for region in view.regions
    )


def _cares(view: View, place: int) -> bool:
    """Whether a sentence holds a negation, a refusal, a number or a condition."""
    return bool(_CARES.search(_piece(view, place))) or any(
        word in LOADED or word in _REFUSES for word in view.words[place]
    )


def _request(
    pair: tuple[Row, Cleaned], view: View, sampling: Sampling, attempt: int, refused: str | None = None
) -> Request:
    row, cleaned = pair
    pieces = [view.text[start:end] for start, end in view.spans]
    return Request(
        which_to_delete(row.prompt, pieces, _hints(cleaned, view), refused),
        sampling,
        ("clean", row.key, "editor", str(attempt)),
        PREFIX,
    )


def _hints(cleaned: Cleaned, view: View) -> list[int]:
    """The numbers of the pieces that the request calls doubtful. A hint permits nothing: only a rule's mark does."""
    if cleaned.text is not None:
        return [
            place + 1
            for place, (start, end) in enumerate(view.spans)
            if any(mark.start < end and start < mark.end for mark in cleaned.flags)
        ]
    if cleaned.reason == "meta_talk":
        return [place + 1 for place in range(len(view.spans)) if grade(_piece(view, place))]
    return [place + 1 for place, said in enumerate(view.keys) if said in view.keys[:place]]


def _edited(row: Row, cleaned: Cleaned, view: View, numbers: Sequence[int], plan: Plan) -> Cleaned:
    """The row with the deletion made and the rules run over what is left."""
    text, made = perform(view.without({number - 1 for number in numbers}), view.text, RULE, len(cleaned.edits))
    again = clean_row(row._replace(text=text), plan)
    first = len(cleaned.edits) + len(made)
    later = tuple(edit._replace(step=first + edit.step) for edit in again.edits)
    return Cleaned(again.text, (*cleaned.edits, *made, *later), again.reason, again.rule, again.flags)


def _lost_to_meta(row: Row, edited: Cleaned) -> float:
    """Which share of a row's words was removed as talk about the answer, by rules and the editor together."""
    lost = sum(
        size(key(edit.removed))
        for edit in edited.edits
        if edit.rule in META or (edit.rule == RULE and grade(edit.removed))
    )
    return lost / max(size(key(row.text)), 1)


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
        verdict = verdicts.get(place, Verdict(row.key, "not_asked", None, 0))
        verdicts[place] = verdict._replace(answers=share)
        if drop and share is not None and share < 0.5:
            results[place] = Cleaned(None, results[place].edits, "does_not_answer", RULE)

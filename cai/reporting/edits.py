"""Cleaning, made visible: every edited row before and after, every dropped row, under one cap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.artifacts.cleaned import CLEANED, DROPPED, EDITS
from cai.artifacts.supervised import REVISIONS
from cai.errors import ArtifactError, ParamsError
from cai.reporting.inputs import Inputs

CAP_ROWS = 150
CAP_CHARACTERS = 600_000
"""Of all texts shown together: escaped and marked up they stay far below the page's 3 MB."""
CAP_TEXT = 6_000

SEEN = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {0x7F: 0x2421, 0x9B: 0x241B}
"""Control characters as their pictures: a text must not steer the terminal that it is printed on."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text: kept, removed or inserted, and by which rule."""

    text: str
    kind: str
    rule: str | None = None


@dataclass(frozen=True)
class EditedRow:
    """One row that cleaning changed or dropped; ``before`` and ``after`` are pieces in order."""

    prompt_id: str
    round: int
    rules: tuple[str, ...]
    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    n_removed: int
    n_inserted: int
    dropped: str | None = None


@dataclass(frozen=True)
class Cleaning:
    """The rows shown, out of how many, and how often each rule acted on all of them."""

    rows: tuple[EditedRow, ...]
    n_edited: int
    n_dropped: int
    n_kept: int
    rules: tuple[tuple[str, int, int, int], ...]
    """(rule, edits, rows edited, rows dropped), most rows first"""


def cleaning(inputs: Inputs, *, cap_rows: int = CAP_ROWS, cap_characters: int = CAP_CHARACTERS) -> Cleaning | None:
    """What cleaning did, or None where its artifacts are not there. The choice under the cap goes round the rules."""
    revisions, cleaned = inputs.table(REVISIONS), inputs.table(CLEANED)
    dropped, edits = inputs.table(DROPPED), inputs.table(EDITS)
    if revisions is None or cleaned is None or dropped is None or edits is None:
        return None
    raw = {(row[0], row[1]): row[2] for row in revisions.select("prompt_id", "round", "revision").iter_rows()}
    by_row: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for edit in edits.sort("prompt_id", "round", "step").to_dicts():
        by_row.setdefault((edit["prompt_id"], edit["round"]), []).append(edit)
    gone = {(row["prompt_id"], row["round"]): row for row in dropped.to_dicts()}
    rules: dict[tuple[str, int], tuple[str, ...]] = {
        key: tuple(
            dict.fromkeys([edit["rule"] for edit in by_row.get(key, [])] + ([gone[key]["rule"]] if key in gone else []))
        )
        for key in sorted({*by_row, *gone})
    }
    shown: list[EditedRow] = []
    n_characters = 0
    for key in _round_robin(rules):
        text = raw.get(key) or (gone[key]["revision"] if key in gone else None)
        if text is None or len(shown) >= cap_rows:
            continue
        if n_characters + 2 * min(len(text), CAP_TEXT) > cap_characters:
            break
        n_characters += 2 * min(len(text), CAP_TEXT)
        shown.append(_row(key, rules[key], text, by_row.get(key, ()), gone.get(key)))
    acted = Counter(edit["rule"] for edit in edits.to_dicts())
    edited = Counter(rule for key in by_row for rule in {edit["rule"] for edit in by_row[key]})
    dropped_by = Counter(row["rule"] for row in gone.values())
    names = sorted({*acted, *dropped_by}, key=lambda rule: (-(edited[rule] + dropped_by[rule]), rule))
    return Cleaning(
        tuple(sorted(shown, key=lambda row: (row.prompt_id, row.round))),
        len(set(by_row) - set(gone)),
        len(gone),
        cleaned.height,
        tuple((rule, acted[rule], edited[rule], dropped_by[rule]) for rule in names),
    )


def before_and_after(root: Path, rule: str | None = None, limit: int = 20) -> Any:
    """What cleaning did to the first rows (that a rule touched), in colours for a terminal.

    Raises ArtifactError where cleaning has not run, ParamsError for a rule that touched no row.
    """
    from rich.console import Group
    from rich.text import Text

    found = cleaning(Inputs(root), cap_rows=10**9, cap_characters=10**12)
    if found is None:
        raise ArtifactError("data/supervised", "no edits here", next_step='run "dvc repro clean"')
    rows = [row for row in found.rows if rule is None or rule in row.rules]
    if rule is not None and not rows:
        touched = ", ".join(name for name, *_ in found.rules) or "none"
        raise ParamsError("--rule", "touched no row", got=rule, expected=touched)
    styles = {"removed": "red strike", "inserted": "green", "note": "dim"}
    shown: list[Text] = []
    for row in rows[:limit]:
        end = f"dropped: {row.dropped}" if row.dropped else f"{row.n_removed} characters removed"
        shown.append(Text(f"{row.prompt_id} round {row.round}  {', '.join(row.rules)}  {end}", style="bold"))
        for name, pieces in (("before", row.before), ("after", row.after)):
            if pieces:
                shown.append(
                    Text.assemble(
                        (f"{name}: ", "dim"), *((one.text.translate(SEEN), styles.get(one.kind, "")) for one in pieces)
                    )
                )
        shown.append(Text())
    shown.append(Text(f"{min(limit, len(rows))} of {len(rows)} rows", style="dim"))
    return Group(*shown)


def replayed(text: str, edits: Iterable[Mapping[str, Any]]) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """(before, after): the original with what was removed marked, the result with what was inserted marked.

    Each edit counts characters in the text as its step saw it; a place in the original is followed through all steps.

    >>> before, after = replayed("Hi. Hi. Bye", [{"start": 4, "end": 8, "inserted": "", "rule": "repeat"}])
    >>> [(piece.text, piece.kind) for piece in before], "".join(piece.text for piece in after)
    ([('Hi. ', 'kept'), ('Hi. ', 'removed'), ('Bye', 'kept')], 'Hi. Bye')
    """
    now: list[tuple[str, int | None, str | None]] = [(character, place, None) for place, character in enumerate(text)]
    removed: dict[int, str] = {}
    for edit in edits:
        start, end, rule = int(edit["start"]), int(edit["end"]), str(edit["rule"])
        for _, place, _ in now[start:end]:
            if place is not None:
                removed[place] = rule
        now[start:end] = [(character, None, rule) for character in edit["inserted"]]
    before = _pieces(
        (character, "removed" if place in removed else "kept", removed.get(place))
        for place, character in enumerate(text)
    )
    after = _pieces((character, "kept" if place is not None else "inserted", rule) for character, place, rule in now)
    return before, after


def _pieces(characters: Iterable[tuple[str, str, str | None]]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    run: list[str] = []
    last: tuple[str, str | None] | None = None
    for character, kind, rule in characters:
        if last is not None and (kind, rule) != last:
            pieces.append(Piece("".join(run), *last))
            run = []
        run.append(character)
        last = (kind, rule)
    if last is not None:
        pieces.append(Piece("".join(run), *last))
    return tuple(pieces)


def _row(
    key: tuple[str, int],
    rules: tuple[str, ...],
    text: str,
    edits: Sequence[Mapping[str, Any]],
    gone: Mapping[str, Any] | None,
) -> EditedRow:
    before, after = replayed(text, edits)
    return EditedRow(
        key[0],
        key[1],
        rules,
        shortened(before),
        () if gone else shortened(after),
        sum(len(piece.text) for piece in before if piece.kind == "removed"),
        sum(len(piece.text) for piece in after if piece.kind == "inserted"),
        str(gone["reason"]) if gone else None,
    )


def shortened(pieces: Sequence[Piece], limit: int = CAP_TEXT) -> tuple[Piece, ...]:
    """The pieces up to ``limit`` characters, and then how many more there are."""
    kept: list[Piece] = []
    left = limit
    for piece in pieces:
        if len(piece.text) > left:
            rest = sum(len(one.text) for one in pieces) - limit
            return (
                *kept,
                Piece(piece.text[:left], piece.kind, piece.rule),
                Piece(f" … {rest:,} more characters", "note"),
            )
        kept.append(piece)
        left -= len(piece.text)
    return tuple(kept)


def _round_robin(rules: Mapping[tuple[str, int], tuple[str, ...]]) -> list[tuple[str, int]]:
    """Keys in an order that takes one row of every rule in turn, so that under a cap no rule is unseen."""
    queues: dict[str, list[tuple[str, int]]] = {}
    for key, names in rules.items():
        for name in names:
            queues.setdefault(name, []).append(key)
    order: dict[tuple[str, int], None] = {}
    depth = max((len(queue) for queue in queues.values()), default=0)
    for place in range(depth):
        for name in sorted(queues):
            if place < len(queues[name]):
                order[queues[name][place]] = None
    return list(order)

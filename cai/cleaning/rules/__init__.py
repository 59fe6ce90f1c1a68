"""The rules, each a module with ID, REASON and ``find(view, row)``: cuts, marks for the editor, or a drop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cai.cleaning.edits import Cut
from cai.cleaning.rules import (
    closings,
    copies,
    cut_tail,
    emoji_runs,
    encoding,
    inner_repeats,
    line_loops,
    meta_preamble,
    meta_talk,
    near_repeats,
    periodic_tail,
    remains,
    repeated_phrases,
    repeated_sentences,
    role_tags,
    strange_tail,
)
from cai.cleaning.view import Drop, Mark, Row, View


class Rule(NamedTuple):
    id: str
    reason: str
    find: Callable[[View, Row], Sequence[Cut | Drop | Mark]]


RULES: dict[str, Rule] = {
    module.ID: Rule(module.ID, module.REASON, module.find)
    for module in (
        encoding,
        role_tags,
        meta_preamble,
        emoji_runs,
        inner_repeats,
        periodic_tail,
        repeated_sentences,
        near_repeats,
        line_loops,
        closings,
        meta_talk,
        cut_tail,
        copies,
        strange_tail,
        remains,
        repeated_phrases,
    )
}
"""In the order that suits them: what is broken first, then what is foreign, then what repeats, then what is left."""
STANDARD = tuple(name for name in RULES if name != repeated_phrases.ID)
"""What may be done to any text. The one left out drops texts that nobody would call broken, to train on none."""
META = frozenset({"meta_preamble", "meta_talk"})
LAST = frozenset({remains.ID})
"""What judges the text that no other rule changes any more."""

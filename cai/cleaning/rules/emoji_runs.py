"""Runs and tails of emoji and emoticons."""

from __future__ import annotations

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View
from cai.text.emoji import clusters
from cai.text.faces import MOUTH, RUN, surplus

ID = "emoji_runs"
REASON = 'the seed paper\'s revisions ran on in emoji and ":)"; equal clusters in a row say nothing more than one'


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of every cluster that a run or a tail has too many."""
    faces = clusters(view.text)
    if len(faces) < RUN and not any(end - start >= MOUTH for start, end, _ in faces):
        return []
    return [Cut(start, end) for start, end in surplus(view.text, view.regions, faces)]

"""Leaked role tags and template tokens."""

from __future__ import annotations

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View
from cai.text.flags import role_tags

ID = "role_tags"
REASON = "role tags and template tokens belong to the prompt format; what follows the next human tag is nobody's answer"


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of every tag, and of everything from the first tag that closes the answer or opens a human turn."""
    text = view.text
    leaked = role_tags(text, lambda: view.regions)
    cuts: list[Cut] = []
    said = 0  # where the answer begins
    for place, (start, end, kind) in enumerate(leaked):
        before = text[said:start].strip(" \t\n\r\"'*#>_")
        if kind in ("user", "end") and before:
            return [*cuts, Cut(_back(text, start), len(text))]
        if kind == "user":  # the text opens with a human turn: the answer begins behind the next model tag
            following = [tag for tag in leaked[place + 1 :] if tag[2] == "model"]
            if following:
                cuts.append(Cut(start, following[0][0]))
                said = following[0][0]
                continue
            if text[start] not in "<[{":
                return [Cut(0, len(text))]
        until = end
        while until < len(text) and text[until] in " \t\n":
            until += 1
        if before and until < len(text):  # a tag between two parts: they stay apart
            until = end + (
                1 if text[end : end + 1] in (" ", "\t") and text[start - 1 : start] in (" ", "\t", "\n") else 0
            )
        elif before:
            start = _back(text, start)
        cuts.append(Cut(start, until))
        said = max(said, until)
    return cuts


def _back(text: str, start: int) -> int:
    """Before the white space that leads to a tag, and before lines of nothing but markup (">", "##")."""
    while True:
        end = len(text[:start].rstrip(" \t\n\r"))
        line = text.rfind("\n", 0, end) + 1
        if not end or text[line:end].strip(" \t\r#>"):
            return end
        start = line

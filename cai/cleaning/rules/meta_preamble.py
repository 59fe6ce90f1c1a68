"""Lead-ins to a rewritten answer."""

from __future__ import annotations

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View
from cai.text.meta import preamble_end

ID = "meta_preamble"
REASON = '"Here\'s a revised version:" speaks to the one who asked for the revision, not to the human'

_PAIRS = {'"': '"', "“": "”", "«": "»", "'": "'", "「": "」"}


def find(view: View, row: Row) -> list[Cut]:
    """The cut of the lead-in, and of the quotation marks around an answer that stands in them whole."""
    text = view.text
    begin = preamble_end(text)
    if not begin:
        return []
    cuts = [Cut(0, begin)]
    closing = _PAIRS.get(text[begin])
    if closing is not None:
        last = len(text.rstrip()) - 1
        inner = text[begin + 1 : last]
        if (
            last > begin
            and text[last] == closing
            and not (closing != "'" and (closing in inner or text[begin] in inner))
        ):
            cuts = [Cut(0, begin + 1), Cut(last, last + 1)]
    return cuts

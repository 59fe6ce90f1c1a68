"""Talk about the answer instead of the answer."""

from __future__ import annotations

from cai.cleaning.edits import Cut
from cai.cleaning.view import Drop, Mark, Row, View
from cai.text.meta import grade, of_the_world, stems, tells_of_changes

ID = "meta_talk"
REASON = "half of a small model's revisions talk about \"the assistant's response\"; trained on, so do its answers"

DOUBTFUL = 0.2
MOST = 0.5
"""A row with a larger share of its words in such sentences is dropped, not cut to a stub."""


def find(view: View, row: Row) -> list[Cut | Drop | Mark]:
    """Cuts of whole sentences that talk about the answer; a drop where that would leave too little."""
    text = view.text
    found_stems = stems(text)
    if not found_stems:
        return []
    world = of_the_world(text)
    if not world.assistant and "assistant" in text:  # an assistant of flesh and blood may have come up before
        world = world._replace(
            assistant=any(of_the_world(other or "").assistant for other in (row.prompt, row.response))
        )
    grades = [grade(text[start:end], world, found_stems) for start, end in view.spans]
    section = next((place for place, (start, end) in enumerate(view.spans) if tells_of_changes(text[start:end])), None)
    if section is not None and any(grades[section + 1 :]):  # items of such a list need not say what they changed
        grades[section:] = [2] * len(grades[section:])
    if not any(found == 2 for found in grades):
        weak = [place for place, found in enumerate(grades) if found]
        if len(weak) >= 2 or sum(view.sizes[place] for place in weak) > DOUBTFUL * view.n_words:
            return [Mark(*view.spans[place], "meta") for place in weak]
        return []
    total = view.n_words or 1
    strong = {place for place, found in enumerate(grades) if found == 2}
    share = sum(view.sizes[place] for place in strong) / total
    either = sum(size for size, found in zip(view.sizes, grades, strict=True) if found) / total
    if share > MOST or either > MOST + 0.2:
        return [Drop("meta_talk")]
    if not any(size >= 3 for place, size in enumerate(view.sizes) if place not in strong):
        return [Drop("meta_talk")]
    # a lead-in such as "Original response:" goes with what it leads to only where that is talk too
    return list(view.without(strong))

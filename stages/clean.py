"""Revisions that would teach collapse are edited or dropped; every edit and every drop is kept."""

from typing import Any

import polars as pl

from cai.artifacts.cleaned import CLEANED, DROPPED, EDITS
from cai.artifacts.supervised import REVISIONS
from cai.cleaning.frames import clean_frames
from cai.cleaning.plan import plan
from cai.errors import ParamsError
from cai.params import Section
from cai.run import Run, run
from cai.scoring.degeneration import flags, measures

READS, WRITES = (REVISIONS,), (CLEANED, DROPPED, EDITS)


class Clean(Section):
    variant: str
    variants: dict[str, list[Any]]


class Params(Section):
    clean: Clean


def main(params: Params, run: Run) -> None:
    """Write what is kept, what is dropped, every edit, and measures that share nothing with the rules."""
    revisions = REVISIONS.read(run.root)
    chosen = plan(params.clean.variant, params.clean.variants)
    if chosen.editor:
        raise ParamsError(
            "clean.variant",
            "asks for the LLM editor, which this stage does not run yet",
            got=params.clean.variant,
            expected="a variant whose list does not end in `editor`",
        )
    frames = clean_frames(revisions, chosen)
    CLEANED.write(frames.cleaned, run.root)
    DROPPED.write(frames.dropped, run.root)
    EDITS.write(frames.edits, run.root)
    before, after = degeneration(revisions), degeneration(frames.cleaned)
    run.metrics(
        {
            "kept_share": frames.metrics["kept_share"],
            **{
                f"{name}_{when}": found[name].value
                for name in HEADLINE
                for when, found in (("before", before), ("after", after))
            },
            "detail": [
                {
                    "variant": params.clean.variant,
                    **frames.metrics,
                    "before": {name: one.as_dict() for name, one in before.items()},
                    "after": {name: one.as_dict() for name, one in after.items()},
                }
            ],
        }
    )


HEADLINE = ("degenerate_share", "repeated_sentence_share", "meta_talk_share")


def degeneration(frame: pl.DataFrame) -> dict[str, Any]:
    """The collapse measures of a column of revisions."""
    texts = frame.select("revision", "finish_reason").iter_rows()
    return dict(measures([None if text is None else flags(text, reason) for text, reason in texts]))


if __name__ == "__main__":
    run(main)

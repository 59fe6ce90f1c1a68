"""Revisions that would teach collapse are edited or dropped; every edit and every drop is kept."""

from typing import Any, Literal, Self

import polars as pl
from pydantic import Field, ValidationInfo, field_validator, model_validator

from cai.artifacts.cleaned import ASKED, CLEANED, DROPPED, EDITS
from cai.artifacts.supervised import REVISIONS
from cai.cleaning.editor import Editor
from cai.cleaning.frames import clean_frames
from cai.cleaning.plan import plan
from cai.errors import ParamsError
from cai.params import Generates, Section
from cai.run import Run, run
from cai.scoring.degeneration import flags, measures

READS, WRITES = (REVISIONS,), (CLEANED, DROPPED, EDITS, ASKED)


class Edits(Generates):
    budget: float = Field(ge=0.0, le=0.5)
    tries: int = Field(ge=1, le=5)
    answers: Literal["ignore", "record", "drop"]
    probes: int = Field(ge=0)

    @model_validator(mode="after")
    def no_trained_model(self) -> Self:
        """In process the editor is the base or a model from elsewhere: `rules` must not wait for a training."""
        if self.backend in ("hf", "vllm") and self.model != "base" and not self.model.startswith(("hub:", "folder:")):
            raise ValueError(
                "model: base, hub:OWNER/NAME@COMMIT or folder:/PATH; dvc.yaml lists no other as a dep of clean"
            )
        return self


class Clean(Section):
    variant: str
    variants: dict[str, list[Any]]
    editor: Edits

    @field_validator("variants")
    @classmethod
    def known_rules(cls, variants: dict[str, list[Any]], seen: ValidationInfo) -> dict[str, list[Any]]:
        """Every variant is one that could run, not only the chosen one."""
        wrong = []
        for name in dict.fromkeys([*variants, seen.data.get("variant", next(iter(variants), ""))]):
            try:
                plan(name, variants)
            except ParamsError as error:
                wrong.append(str(error))
        if wrong:
            raise ValueError("\n".join(wrong))
        return variants


class Params(Section):
    seed: int
    clean: Clean


def main(params: Params, run: Run) -> None:
    """Write what is kept, what is dropped, every edit, and measures that share nothing with the rules."""
    revisions = REVISIONS.read(run.root)
    chosen = plan(params.clean.variant, params.clean.variants)
    frames = clean_frames(revisions, chosen, editor(params, run) if chosen.editor else None)
    CLEANED.write(frames.cleaned, run.root)
    DROPPED.write(frames.dropped, run.root)
    EDITS.write(frames.edits, run.root)
    ASKED.write(frames.asked, run.root)
    before, after = degeneration(revisions), degeneration(frames.cleaned)
    run.metrics(
        {
            "kept_share": frames.metrics["kept_share"],
            **{
                f"{name}_{when}": found[name].value
                for name in HEADLINE
                for when, found in (("before", before), ("after", after))
            },
            **trust(frames.metrics.get("editor")),
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


def editor(params: Params, run: Run) -> Editor:
    """The LLM editor, its model opened: only for a variant that ends in `editor`."""
    asked = params.clean.editor
    model = run.open_model(asked)
    return Editor(model, asked.sampling(params.seed), asked.budget, asked.tries, asked.answers, asked.probes)


def trust(counts: dict[str, Any] | None) -> dict[str, Any]:
    """How often the editor's replies could be used, and how often it found what was planted and nothing else."""
    if counts is None:
        return {}
    return {"editor_accepted_share": counts["accepted_share"], "editor_probes_share": counts["probes"]["exact_share"]}


def degeneration(frame: pl.DataFrame) -> dict[str, Any]:
    """The collapse measures of a column of revisions."""
    texts = frame.select("revision", "finish_reason").iter_rows()
    return dict(measures([None if text is None else flags(text, reason) for text, reason in texts]))


if __name__ == "__main__":
    run(main)

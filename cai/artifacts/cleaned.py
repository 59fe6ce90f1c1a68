"""What cleaning keeps, what it drops, and every change it made."""

from cai.artifacts.supervised import REVISION_COLUMNS
from cai.artifacts.table import GENERATION, Table, flag, integer, number, text

CLEANED = Table(
    "cleaned",
    "data/supervised/cleaned.parquet",
    ("prompt_id", "round"),
    (
        *REVISION_COLUMNS,
        text("revision", "the answer after cleaning: what sft trains on"),
        flag("cut", "the text ends where the token budget ended it, not where the model would have"),
        *GENERATION,
    ),
    "Revisions that are fit to train on",
    "clean",
)

DROPPED = Table(
    "dropped",
    "data/supervised/dropped.parquet",
    ("prompt_id", "round"),
    (
        text("prompt_id", "the prompt"),
        integer("round", "the round"),
        text("reason", "why the row was dropped"),
        text("rule", "the rule that dropped it"),
        text("revision", "the text as it came", nullable=True),
    ),
    "Revisions that were dropped, each with its reason",
    "clean",
)

EDITS = Table(
    "edits",
    "data/supervised/edits.parquet",
    ("prompt_id", "round", "step"),
    (
        text("prompt_id", "the prompt"),
        integer("round", "the round"),
        integer("step", "place in the order of application"),
        text("rule", "the rule that made the edit"),
        integer("start", "first character, in the text as this step saw it"),
        integer("end", "one past the last character"),
        text("removed", "what stood there"),
        text("inserted", "what stands there now: empty but for repaired encodings and joined spaces"),
    ),
    "Every change that cleaning made; applied in order they give the kept text, backwards the original",
    "clean",
)

ASKED = Table(
    "asked",
    "data/supervised/asked.parquet",
    ("prompt_id", "round"),
    (
        text("prompt_id", "the prompt"),
        integer("round", "the round"),
        text(
            "status",
            "what the reply led to; `dropped`: a rule dropped what was left; `not_asked`: only `answers` was",
            values=("edited", "nothing_to_delete", "dropped", "rejected", "failed", "not_asked"),
        ),
        text("reason", "why the last reply was rejected, failed, or ended in a drop", nullable=True),
        integer("tries", "how often the editor was asked"),
        number(
            "answers", "the editor model's probability that the text answers its prompt; null: not asked", nullable=True
        ),
    ),
    "What the LLM editor was asked and what came of it; empty where the variant has no editor",
    "clean",
)

"""Responses, critiques, revisions: the rows of the supervised phase before cleaning."""

from cai.artifacts.table import GENERATION, Table, integer, text, turns

RESPONSES = Table(
    "responses",
    "data/supervised/responses.parquet",
    ("prompt_id",),
    (
        text("prompt_id", "the prompt"),
        text("split", "sft_train or sft_test"),
        text("prompt", "the last human turn"),
        turns(),
        text("response", "what the instruct model answered", nullable=True),
        *GENERATION,
    ),
    "First answers of the instruct model to red-team prompts",
    "respond",
)

CRITIQUES = Table(
    "critiques",
    "data/supervised/critiques.parquet",
    ("prompt_id", "round"),
    (
        text("prompt_id", "the prompt"),
        integer("round", "1 .. revise.rounds"),
        text("principle_id", "the critique principle drawn for this prompt and round"),
        text("critique", "what the model finds wrong; null where critique.enabled is false", nullable=True),
        *GENERATION,
    ),
    "The model's critique of its own answer under one drawn principle",
    "critique",
)

REVISION_COLUMNS = (
    text("prompt_id", "the prompt"),
    integer("round", "1 .. revise.rounds"),
    text("split", "sft_train or sft_test"),
    text("principle_id", "the revision principle drawn for this prompt and round"),
    text("prompt", "the last human turn"),
    turns(),
    text("response", "the answer that was revised", nullable=True),
    text("critique", "the critique it was revised under", nullable=True),
)

REVISIONS = Table(
    "revisions",
    "data/supervised/revisions.parquet",
    ("prompt_id", "round"),
    (*REVISION_COLUMNS, text("revision", "the answer rewritten, as the model gave it", nullable=True), *GENERATION),
    "Revised answers of every round, uncleaned",
    "revise",
)

"""The evaluation prompts, and what each model answered."""

import polars as pl

from cai.artifacts.table import GENERATION, Column, Table, integer, number, text

EVALUATION_PROMPTS = Table(
    "evaluation_prompts",
    "data/evaluation/prompts.parquet",
    ("prompt_id",),
    (
        text("prompt_id", "hash of set, item and turns"),
        text("set", "the benchmark: mtbench, harmbench, redteam, benign, ..."),
        text("item_id", "the benchmark's own id"),
        text("category", "the benchmark's own category", nullable=True),
        number("temperature", "the benchmark's own temperature; null: answer.temperature", nullable=True),
        Column("turns_text", pl.List(pl.String()), "the user's turns, in order"),
        Column("reference", pl.List(pl.String()), "reference answers a turn, where the benchmark has them", True),
    ),
    "Prompts that no training row may hold",
    "benchmarks",
)

ANSWERS = Table(
    "answers",
    "data/evaluation/answers_{model}.parquet",
    ("prompt_id", "turn"),
    (
        text("prompt_id", "the evaluation prompt, or the held-out prompt"),
        integer("turn", "1, or 2 on the model's own first answer"),
        text("set", "the benchmark, or heldout"),
        text("category", "the benchmark's own category", nullable=True),
        text("prompt", "the user's turn that is answered"),
        text("response", "the answer", nullable=True),
        Column("token_ids", pl.List(pl.Int32()), "the answer's tokens, where the backend tells", True),
        *GENERATION,
    ),
    "What one model answered to the evaluation and held-out prompts",
    "answer@{model}",
)

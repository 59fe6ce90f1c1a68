"""The helpful rows that `instruct` trains on."""

from cai.artifacts.table import Table, text, turns

INSTRUCTIONS = Table(
    "instructions",
    "data/supervised/instructions.parquet",
    ("instruction_id",),
    (
        text("instruction_id", "hash of the prompt"),
        text("split", "who may use it", values=("train", "test")),
        text("prompt", "instruction and its input"),
        turns(),
        text("response", "the answer to learn"),
    ),
    "Instruction rows without duplicates and without evaluation prompts",
    "prompts",
)

"""What `fetch` brings in, before anything is decided about it."""

from cai.artifacts.table import Table, integer, text

RAW_RED_TEAM = Table(
    "raw_red_team",
    "data/raw/red_team.parquet",
    ("row",),
    (
        integer("row", "place in the source"),
        text("source", "subset of the source this row came from"),
        text("chosen", "HH-RLHF transcript with the preferred last answer", nullable=True),
        text("rejected", "HH-RLHF transcript with the other last answer", nullable=True),
        text("transcript", "red-team-attempts transcript", nullable=True),
    ),
    "Red-team conversations as the source has them",
    "fetch",
)

RAW_INSTRUCTIONS = Table(
    "raw_instructions",
    "data/raw/instructions.parquet",
    ("row",),
    (
        integer("row", "place in the source"),
        text("instruction", "the task", nullable=True),
        text("input", "material for the task", nullable=True),
        text("output", "the answer", nullable=True),
    ),
    "Instruction rows as the source has them",
    "fetch",
)

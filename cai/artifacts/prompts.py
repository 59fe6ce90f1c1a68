"""The red-team prompts that are kept, cut into splits."""

from cai.artifacts.table import Table, integer, text, turns

SPLITS = ("sft_train", "sft_test", "pref_train", "pref_test", "heldout")

PROMPTS = Table(
    "prompts",
    "data/supervised/prompts.parquet",
    ("prompt_id",),
    (
        text("prompt_id", "hash of the context's roles and texts"),
        text("split", "who may use it", values=SPLITS),
        text("cluster_id", "shared by all prefixes of a transcript and by near duplicates; never in two splits"),
        text("source", "subset of the source this prompt came from"),
        text("prompt", "the last human turn"),
        turns(),
        integer("n_turns", "turns in the context"),
    ),
    "Red-team prompts without duplicates and without evaluation prompts",
    "prompts",
)

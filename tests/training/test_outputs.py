"""The folder that comes out, the facts, the curves; and that neither text nor path nor pickle slips in."""

from __future__ import annotations

import csv
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from cai.errors import ArtifactError, ModelError, ParamsError
from cai.training.tuning import DpoTuning, SftTuning
from tests.training.conftest import DPO, SFT, pair_rows, read_json, sft_rows

pytestmark = pytest.mark.usefixtures("tokenizers_read_once")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("training opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def sft(tiny: Path, folder: Path, rows: list[dict[str, Any]] | None = None, **over: Any) -> Any:
    from cai.training.sft import train_sft

    watch = over.pop("watch", None)
    return train_sft(
        sft_rows(10) if rows is None else rows,
        tiny,
        folder / "sft",
        folder / "work",
        name="sft",
        params=SftTuning(**SFT | over),
        base="base:0123",
        eval_rows=sft_rows(3),
        curves=folder / "curves",
        watch=watch,
        say=lambda line: None,
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_sft_writes_an_adapter_a_chain_can_take_and_nothing_else(tiny: Path, tmp_path: Path) -> None:
    from cai.llm.weights import adapter_sha256

    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "left_over.bin").write_text("from an older run")
    facts = sft(tiny, tmp_path, [*sft_rows(10), sft_rows(1)[0] | {"id": "cut", "cut": True}], eos_on_cut_rows="drop")
    names = {path.name for path in (tmp_path / "sft").iterdir()}
    assert names == {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip
    config = read_json(tmp_path / "sft" / "adapter_config.json")
    assert config["base_model_name_or_path"] == "base:0123"
    assert config["target_modules"] == sorted(config["target_modules"])
    for path in (tmp_path / "sft").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
        assert str(tiny).encode() not in path.read_bytes()
    assert facts.adapter_sha256 == adapter_sha256(tmp_path / "sft")
    assert (facts.n_rows, facts.n_eval_rows, facts.n_steps, facts.dropped) == (10, 3, 3, {"cut_at_budget": 1})
    assert facts.dropped_rows == (("cut", "cut_at_budget"),)
    assert facts.labels_with_stop_share == 1.0
    assert facts.eval_loss < facts.eval_loss_before
    assert json.loads(json.dumps(facts.metrics()))["n_rows"] == 10
    train, evaluation = table(tmp_path / "curves" / "train.csv"), table(tmp_path / "curves" / "eval.csv")
    assert [row["step"] for row in train] == ["1", "2", "3"]
    assert [row["step"] for row in evaluation] == ["0", "3"]
    assert all(float(row["grad_norm"]) > 0 for row in train)
    assert [float(row["learning_rate"]) for row in train] == pytest.approx([0.01, 0.01 * 2 / 3, 0.01 / 3], rel=1e-5)


def test_the_merged_adapter_says_what_the_trained_model_said(tiny: Path, tmp_path: Path) -> None:
    """Through cai.llm.weights, as the next stage opens it: the evaluation loss must be the one of the last step."""
    import torch
    from transformers import AutoModelForCausalLM

    from cai.llm.weights import open_chain, resolve, write_chain

    root = tmp_path / "root"
    models = root / "data" / "models"
    facts = sft(tiny, models)
    write_chain(models / "sft", resolve({"kind": "folder", "path": str(tiny)}), [])
    merged = open_chain("sft", root, tmp_path / "w", "fp32")
    from cai.llm.weights import tokenizer
    from cai.training.labels import sft_examples

    examples, _ = sft_examples(sft_rows(3), tokenizer(merged), max_length=128, eos_on_cut_rows="teach")
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    losses = []
    for example in examples:
        ids, labels = torch.tensor([example.input_ids]), torch.tensor([example.labels])
        with torch.no_grad():
            losses.append((model(ids, labels=labels).loss.item(), example.n_completion_tokens))
    mean = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert mean == pytest.approx(facts.eval_loss, rel=1e-4)


def test_dpo_leaves_the_first_accuracy_empty_and_learns_the_preference(tiny: Path, tmp_path: Path) -> None:
    from cai.training.dpo import train_dpo

    facts = train_dpo(
        pair_rows(12), tiny, tmp_path / "dpo", tmp_path / "work", name="dpo", params=DpoTuning(**DPO | {"epochs": 2}),
        base="sft:0123", eval_rows=pair_rows(4), curves=tmp_path / "curves", say=lambda line: None,
    )  # fmt: skip
    train = table(tmp_path / "curves" / "train.csv")
    assert train[0]["reward_accuracy"] == "", "policy and reference are equal: no reward is larger than itself"
    assert float(train[0]["drift_chosen"]) == 0.0
    assert all(row["reward_accuracy"] for row in train[1:])
    assert {"loss", "grad_norm", "logp_chosen", "logp_rejected", "logp_token_chosen", "reward_margin"} <= train[
        0
    ].keys()
    assert facts.eval_loss < facts.eval_loss_before
    assert facts.final["reward_margin"] > 0
    assert facts.labels_with_stop_share == 1.0
    assert not list((tmp_path / "dpo").glob("*.bin"))
    assert not (tmp_path / "dpo" / "ref").exists()


def test_only_the_last_layers_are_adapted_when_asked(tiny: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    sft(tiny, tmp_path, last_layers=1)
    with safe_open(tmp_path / "sft" / "adapter_model.safetensors", framework="pt") as tensors:
        layers = {name.split(".layers.")[1].split(".")[0] for name in tensors.keys()}  # noqa: SIM118
    assert layers == {"1"}
    with pytest.raises(ModelError, match="fewer layers"):
        sft(tiny, tmp_path, last_layers=3)


def test_full_fine_tuning_writes_a_whole_model(tiny: Path, tmp_path: Path) -> None:
    facts = sft(tiny, tmp_path, adapter="none", learning_rate=1e-3)
    names = {path.name for path in (tmp_path / "sft").iterdir()}
    assert {"model.safetensors", "config.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pth")) or "adapter" in name for name in names)
    assert facts.eval_loss < facts.eval_loss_before
    assert str(tiny) not in (tmp_path / "sft" / "config.json").read_text()


def test_a_run_without_a_usable_row_says_why(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="too_long 10"):
        sft(tiny, tmp_path, max_length=8)
    assert not (tmp_path / "sft").exists()


def test_label_smoothing_with_a_loss_that_ignores_it_is_refused(tiny: Path, tmp_path: Path) -> None:
    from cai.training.dpo import train_dpo

    params = DpoTuning(**DPO | {"label_smoothing": 0.1})
    with pytest.raises(ParamsError, match="robust only"):
        train_dpo(pair_rows(2), tiny, tmp_path / "d", tmp_path / "w", name="dpo", params=params, base="b")


def test_a_collapse_ends_the_run_and_puts_the_last_good_weights_back(tiny: Path, tmp_path: Path) -> None:
    """A scripted decline, 0 0 0.1 0.8 at steps 0 2 4 6: the run ends at 6 with the weights of step 4."""
    import hashlib

    from cai.training.callbacks import Watch

    decline = iter([0.0, 0.0, 0.1, 0.8, 0.9])
    states: list[str] = []

    def sample(model: Any, tokenizer: Any) -> list[str]:
        assert not model.training
        states.append(fingerprint(p for n, p in model.named_parameters() if "lora_" in n))
        return [tokenizer.eos_token]

    def fingerprint(tensors: Any) -> str:
        return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()

    watch = Watch(sample, lambda texts: {"repeated_sentence_share": next(decline)})
    limits = {"every_steps": 2, "n_prompts": 1, "max_new_tokens": 4, "max": {"repeated_sentence_share": 0.5}}
    facts = sft(tiny, tmp_path, sft_rows(40), guard=limits, watch=watch)
    assert (facts.stopped_at_step, facts.kept_step, facts.n_steps) == (6, 4, 6)
    assert facts.stopped_because == "repeated_sentence_share 0.8 > 0.5"
    assert [row["repeated_sentence_share"] for row in table(tmp_path / "curves" / "guard.csv")] == [
        "0",
        "0",
        "0.1",
        "0.8",
    ]
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    kept = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), tmp_path / "sft")
    assert fingerprint(p for n, p in kept.named_parameters() if "lora_" in n) == states[2]
    assert len(set(states)) == 4


def test_a_guard_without_a_breach_changes_no_byte(tiny: Path, tmp_path: Path) -> None:
    import torch

    from cai.training.callbacks import Watch

    plain = sft(tiny, tmp_path / "plain", dropout=0.1)

    def sample(model: Any, tokenizer: Any) -> list[str]:
        torch.rand(5)
        return []

    limits = {"every_steps": 1, "n_prompts": 1, "max_new_tokens": 4, "max": {"share": 0.5}}
    watched = sft(
        tiny, tmp_path / "watched", dropout=0.1, guard=limits, watch=Watch(sample, lambda texts: {"share": 0.1})
    )
    assert watched.stopped_at_step is None
    assert watched.adapter_sha256 == plain.adapter_sha256


def test_the_guard_looks_at_answers_to_held_out_prompts_and_writes_its_curve(tiny: Path, tmp_path: Path) -> None:
    """A random model never stops: no_stop_share is 1 at every look, so a limit below ends the run at the first one."""
    limits = {"every_steps": 2, "n_prompts": 2, "max_new_tokens": 6, "max": {"degenerate_share": None}}
    free = sft(tiny, tmp_path / "free", sft_rows(24), guard=limits)
    looks = table(tmp_path / "free" / "curves" / "guard.csv")
    assert (free.stopped_at_step, [row["step"] for row in looks]) == (None, ["0", "2", "4", "6"])
    assert {row["no_stop_share"] for row in looks} == {"1"}
    assert "degenerate_share" in looks[0]
    bound = sft(tiny, tmp_path / "bound", sft_rows(24), guard=limits | {"max": {"no_stop_share": 0.9}})
    assert (bound.stopped_at_step, bound.stopped_because) == (0, "no_stop_share 1 > 0.9")
    with pytest.raises(ParamsError, match="no such measure"):
        sft(tiny, tmp_path / "wrong", sft_rows(4), guard=limits | {"max": {"boredom": 0.5}})


def test_the_model_card_names_chain_data_and_parameters_by_content_alone(tiny: Path, tmp_path: Path) -> None:
    import hashlib

    from cai.training.card import write_card

    facts = sft(tiny, tmp_path)
    digest = "ab" * 32
    chain = {"base": {"kind": "folder", "path": "/home/somebody/m", "sha256": digest}, "adapters": []}
    (tmp_path / "sft" / "chain.json").write_text(json.dumps(chain))
    data = tmp_path / "data" / "cleaned.parquet"
    data.parent.mkdir()
    data.write_bytes(b"rows")
    write_card(tmp_path / "sft", [data], tmp_path, SftTuning(**SFT), facts)
    card = (tmp_path / "sft" / "README.md").read_text()
    assert hashlib.sha256(b"rows").hexdigest() in card and digest in card
    assert "data/cleaned.parquet" in card and "rows: 10 trained on, 3 held out" in card
    assert "- learning_rate: 0.01" in card
    assert "somebody" not in card and str(tmp_path) not in card
    before = card
    write_card(tmp_path / "sft", [data], tmp_path, SftTuning(**SFT), facts)
    assert (tmp_path / "sft" / "README.md").read_text() == before

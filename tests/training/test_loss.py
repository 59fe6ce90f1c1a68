"""The soft-label loss against numbers worked out by hand, and against TRL where the judge is certain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import DPO, pair_rows

pytestmark = pytest.mark.usefixtures("tokenizers_read_once")


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def full(loss: str, summed: float, mean: float, beta: float, epsilon: float = 0.0) -> float:
    """TRL's loss of one pair, written from the papers' formulas."""
    if loss == "sigmoid":
        return -log_sigmoid(beta * summed)
    if loss == "sigmoid_norm":
        return -log_sigmoid(beta * mean)
    if loss == "ipo":
        return (mean - 1 / (2 * beta)) ** 2
    if loss == "robust":
        return (-(1 - epsilon) * log_sigmoid(beta * summed) + epsilon * log_sigmoid(-beta * summed)) / (1 - 2 * epsilon)
    raise ValueError(loss)


@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm", "ipo", "robust"])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_the_soft_loss_is_the_mixture_of_both_readings_of_a_pair(loss: str, p: float) -> None:
    import torch

    from cai.training.loss import soft_term

    summed, mean, beta, epsilon = 3.7, 0.42, 0.25, 0.1 if loss == "robust" else 0.0
    mixture = p * full(loss, summed, mean, beta, epsilon) + (1 - p) * full(loss, -summed, -mean, beta, epsilon)
    as_tensor = [torch.tensor([x], dtype=torch.float64) for x in (summed, mean, p)]
    ours = full(loss, summed, mean, beta, epsilon) + soft_term(loss, *as_tensor, beta, epsilon).item()
    assert ours == pytest.approx(mixture, abs=1e-12)


def test_three_pairs_by_hand() -> None:
    import torch

    from cai.training.loss import soft_term

    # beta 0.1; differences 2, -1, 4 nats; p 1, 0.75, 0.5: the terms are 0, 0.25 * 0.1 * -1 and 0.5 * 0.1 * 4.
    term = soft_term("sigmoid", torch.tensor([2.0, -1.0, 4.0]), torch.zeros(3), torch.tensor([1.0, 0.75, 0.5]), 0.1)
    assert term.tolist() == pytest.approx([0.0, -0.025, 0.2])


def test_an_unknown_loss_is_refused() -> None:
    import torch

    from cai.training.loss import soft_term

    with pytest.raises(ValueError, match="hinge"):
        soft_term("hinge", torch.ones(1), torch.ones(1), torch.ones(1), 0.1)


def opened_trainer(tiny: Path, tmp_path: Path, rows: list[dict[str, Any]], **over: Any) -> Any:
    import torch

    from cai.training import dpo, session
    from cai.training.labels import preference_pairs
    from cai.training.tuning import DpoTuning

    session.quiet()
    params = DpoTuning(**DPO | over)
    opened = session.open_weights(tiny, params)
    pairs, _ = preference_pairs(rows, opened.tokenizer, max_length=128, eos_on_cut_rows="teach")
    trainer = dpo.build_trainer(opened, pairs, [], params, tmp_path)
    # An adapter that does something, the same for every call.
    torch.manual_seed(7)
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad and "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return trainer


def batch_loss(trainer: Any) -> tuple[float, dict[str, list[float]]]:
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    trainer._metrics["train"].clear()
    loss = trainer.compute_loss(trainer.model, batch)
    return loss.item(), dict(trainer._metrics["train"])


@pytest.mark.parametrize(
    "over",
    [
        {"loss": "sigmoid"},
        {"loss": "ipo"},
        {"loss": "sigmoid_norm"},
        {"loss": "robust", "label_smoothing": 0.1},
        {"sft_weight": 0.5},
    ],
)
def test_at_p_one_the_loss_is_trls_to_the_bit(tiny: Path, tmp_path: Path, over: dict[str, Any]) -> None:
    certain = [row | {"p_chosen": 1.0} for row in pair_rows(4)]
    soft, _ = batch_loss(opened_trainer(tiny, tmp_path, certain, soft_labels=True, **over))
    hard, _ = batch_loss(opened_trainer(tiny, tmp_path, certain, soft_labels=False, **over))
    assert soft == hard


def test_trls_own_trainer_gives_the_loss_that_ours_gives(tiny: Path, tmp_path: Path) -> None:
    """Rows as texts through an untouched DPOTrainer, its tokenization and its output head."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    from cai.training import session

    rows = [row | {"p_chosen": 1.0} for row in pair_rows(4)]
    ours = opened_trainer(tiny, tmp_path, rows)
    session.hasten(ours)
    loss, _ = batch_loss(ours)
    chat = [
        {
            "prompt": [{"role": t["role"], "content": t["text"]} for t in row["turns"]],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
        }
        for row in rows
    ]
    config = DPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False, report_to="none",
                       per_device_train_batch_size=4, disable_tqdm=True, beta=0.1)  # fmt: skip
    theirs = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32),
        args=config,
        train_dataset=Dataset.from_list(chat),
        processing_class=ours.processing_class,
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    set_peft_model_state_dict(theirs.model, get_peft_model_state_dict(ours.model))
    # Their completions end in a newline more, which ours leave out: take it off, and the losses must agree.
    newline = ours.processing_class("\n")["input_ids"]
    theirs.train_dataset = theirs.train_dataset.map(
        lambda row: {side: row[side][: -len(newline)] for side in ("chosen_ids", "rejected_ids")}
    )
    assert batch_loss(theirs)[0] == pytest.approx(loss, rel=1e-5)


def test_doubt_moves_the_loss_and_its_gradient(tiny: Path, tmp_path: Path) -> None:
    rows = pair_rows(4)
    hard, metrics = batch_loss(opened_trainer(tiny, tmp_path, rows, soft_labels=False))
    soft, _ = batch_loss(opened_trainer(tiny, tmp_path, [row | {"p_chosen": 0.6} for row in rows]))
    # Mean over pairs of (1 - p) beta d, and d from TRL's own log: margin = beta d.
    assert soft - hard == pytest.approx(0.4 * metrics["rewards/margins"][0], rel=1e-4)
    assert abs(metrics["rewards/margins"][0]) > 1e-3


def test_log_probabilities_per_token_and_drift_are_logged_beside_trls_sums(tiny: Path, tmp_path: Path) -> None:
    rows = pair_rows(1)
    trainer = opened_trainer(tiny, tmp_path, rows)
    _, metrics = batch_loss(trainer)
    for side in ("chosen", "rejected"):
        n = len(trainer.train_dataset[0][f"{side}_ids"])
        assert metrics[f"logps_per_token/{side}"][0] == pytest.approx(metrics[f"logps/{side}"][0] / n, rel=1e-5)
        assert metrics[f"drift/{side}"][0] * 0.1 == pytest.approx(metrics[f"rewards/{side}"][0], rel=1e-4)


@pytest.mark.parametrize("adapter", ["lora", "none"])
def test_the_reference_is_the_model_in_weights_and_not_the_base_it_was_trained_from(
    tiny: Path, tmp_path: Path, adapter: str
) -> None:
    """base → another model (sft) saved with the base's name in its config → DPO on it: log-probabilities tell."""
    import json

    import torch
    from transformers import AutoModelForCausalLM

    sft = tmp_path / "sft"
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.model.layers.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(sft)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (sft / name).write_bytes((tiny / name).read_bytes())
    config = json.loads((sft / "config.json").read_text())
    (sft / "config.json").write_text(json.dumps(config | {"_name_or_path": str(tiny)}))

    trainer = opened_trainer(sft, tmp_path / "work", pair_rows(2), adapter=adapter)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if parameter.requires_grad and ("lora_B" in name or "layers.1.mlp" in name):
                parameter.add_(0.1)
    _, metrics = batch_loss(trainer)
    drift = metrics["drift/chosen"][0]
    policy = metrics["logps/chosen"][0]

    def by_hand(folder: Path) -> float:
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        sums = []
        for row in trainer.train_dataset:
            ids = torch.tensor([row["prompt_ids"] + row["chosen_ids"]])
            with torch.no_grad():
                log_probs = plain(ids).logits.log_softmax(-1)[0, :-1]
            scored = log_probs.gather(-1, ids[0, 1:, None]).squeeze(-1)
            sums.append(scored[-len(row["chosen_ids"]) :].sum().item())
        return sum(sums) / len(sums)

    assert policy - drift == pytest.approx(by_hand(sft), abs=1e-3)
    assert abs(policy - drift - by_hand(tiny)) > 0.1, "the base gives other log-probabilities: the test can tell"
    assert abs(drift) > 0.01, "the policy has moved: reference and policy are not the same weights"

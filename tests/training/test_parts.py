"""Order of rows, output head, fused adapters, progress and curves, each on its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


def test_every_epoch_visits_every_row_once_in_its_own_order_known_beforehand() -> None:
    import torch

    from cai.training.checkpoints import PlannedOrder

    lengths = [(7 * row) % 50 for row in range(101)]
    order = PlannedOrder(lengths, 8, seed=3)
    epochs = []
    for epoch in range(3):
        order.set_epoch(epoch)
        epochs.append(list(order))
        assert Counter(epochs[-1]) == Counter(range(101))
    assert epochs[0] != epochs[1] != epochs[2]
    again = PlannedOrder(lengths, 8, seed=3)
    again.set_epoch(2)
    torch.rand(9)
    assert list(again) == epochs[2], "a resumed epoch does not depend on what was drawn before it"


def test_neighbours_in_a_batch_are_of_similar_length() -> None:
    from cai.training.checkpoints import PlannedOrder

    lengths = [(7 * row) % 64 for row in range(64)]
    rows = list(PlannedOrder(lengths, 8, seed=0))
    spread = [
        max(lengths[r] for r in rows[a : a + 8]) - min(lengths[r] for r in rows[a : a + 8]) for a in range(0, 64, 8)
    ]
    assert max(spread) <= 10


def test_the_newest_whole_checkpoint_is_found_and_half_written_ones_are_not(tmp_path: Path) -> None:
    from cai.training.checkpoints import last_checkpoint

    for name in ("checkpoint-2", "checkpoint-10", ".checkpoint-12.abc", "checkpoint-tmp"):
        (tmp_path / name).mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_checkpoint(tmp_path / "checkpoint-2") is None


def test_the_short_output_head_gives_the_values_and_gradients_of_plain_log_softmax() -> None:
    import torch

    from cai.training.cpu import POSITIONS_AT_ONCE, completion_log_probs

    torch.manual_seed(0)
    n = POSITIONS_AT_ONCE + 44
    hidden = torch.randn(n, 24, requires_grad=True)
    weight, targets, upstream = torch.randn(501, 24), torch.randint(0, 501, (n,)), torch.randn(n)
    log_probs, entropy, top = completion_log_probs(hidden, weight, targets)
    (log_probs * upstream).sum().backward()
    ours, hidden.grad = hidden.grad.clone(), None
    plain = (hidden @ weight.t()).log_softmax(-1)
    wanted = plain.gather(-1, targets[:, None]).squeeze(-1)
    (wanted * upstream).sum().backward()
    torch.testing.assert_close(log_probs, wanted)
    torch.testing.assert_close(ours, hidden.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropy, -(plain.exp() * plain).sum(-1))
    assert torch.equal(top, plain.argmax(-1) == targets)


LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def model_with_adapter(tiny: Path, dtype: str, layers: list[int] | None = None) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=getattr(torch, dtype), attn_implementation="eager")
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules=LINEAR, layers_to_transform=layers, task_type="CAUSAL_LM")
    model = get_peft_model(model, adapter)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def counting_packs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every batch that is packed from now on."""
    from cai.training import packed

    rows: list[int] = []
    pack = packed.pack

    def counted(input_ids: Any, attention_mask: Any) -> Any:
        rows.append(len(input_ids))
        return pack(input_ids, attention_mask)

    monkeypatch.setattr(packed, "pack", counted)
    return rows


@pytest.mark.parametrize(
    ("dtype", "tolerance", "layers"),
    [("float32", 1e-5, None), ("float32", 1e-5, [1]), ("bfloat16", 6e-2, None)],
)
def test_hastened_training_has_the_losses_and_gradients_of_trl_and_peft(
    tiny: Path, dtype: str, tolerance: float, layers: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from trl.trainer.utils import add_fused_lm_head

    from cai.training.cpu import fuse_adapters, project_completions

    n_packed = counting_packs(monkeypatch)

    ids = torch.randint(10, 49000, (3, 20), generator=torch.Generator().manual_seed(2))
    ids[1, :11], ids[2, :9] = ids[0, :11], ids[1, :9]  # what rows begin with is computed once
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    labels = ids.clone()
    labels[:, :8] = -100
    labels[mask == 0] = -100
    found = []
    for hastened in (False, True):
        model = model_with_adapter(tiny, dtype, layers)
        add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        if hastened:
            assert fuse_adapters(model) == (7 if layers else 14)
            project_completions(model.get_base_model())
        outputs = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        outputs.loss.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
        with torch.no_grad(), model.disable_adapter():
            off = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True).log_probs
        found.append((outputs, gradients, off))
    assert n_packed == [3, 3], "policy and reference were packed, called through peft as a trainer calls them"
    (theirs, their_gradients, their_off), (ours, our_gradients, our_off) = found
    for name in ("loss", "log_probs", "entropy", "mean_logits"):
        torch.testing.assert_close(
            getattr(ours, name).float(), getattr(theirs, name).float(), rtol=tolerance, atol=tolerance
        )
    assert torch.equal(ours.label_mask, theirs.label_mask)
    torch.testing.assert_close(our_off, their_off, rtol=1e-5, atol=1e-5)
    for name, gradient in their_gradients.items():
        distance = (our_gradients[name] - gradient).norm() / gradient.norm()
        assert distance <= tolerance, name


@pytest.mark.parametrize("layers", [None, [1]])
def test_a_reference_is_not_computed_where_it_is_known_to_the_bit(
    tiny: Path, layers: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from trl.trainer.utils import add_fused_lm_head

    from cai.training.cpu import fuse_adapters, project_completions

    def opened() -> Any:
        model = model_with_adapter(tiny, "float32", layers)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.zeros_(parameter)
        add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        fuse_adapters(model)
        project_completions(model.get_base_model())
        return model.train()

    def ask(model: Any, seed: int) -> Any:
        ids = torch.randint(10, 49000, (4, 12), generator=torch.Generator().manual_seed(seed))
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, fused_lm_head=True).log_probs

    def reference(model: Any, seed: int) -> Any:
        with torch.no_grad(), model.disable_adapter():
            return ask(model, seed)

    n_packed = counting_packs(monkeypatch)
    model = opened()
    policy = ask(model, 0)
    first = reference(model, 0)
    assert len(n_packed) == 1, "before the first step the policy is its reference"
    assert policy.requires_grad
    assert not first.requires_grad
    assert torch.equal(first, reference(opened(), 0)), "and bit for bit what a model without a policy computes"
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    assert not torch.equal(ask(model, 0), first), "a policy that has moved is computed"
    n_packed.clear()
    reference(model, 1)
    reference(model, 1)
    assert len(n_packed) == 2, "a training batch does not come again and is not kept"
    model.eval()
    again = [reference(model, 2) for _ in range(3)]
    assert len(n_packed) == 3, "an evaluation batch does"
    assert torch.equal(again[0], again[2])


def test_a_batch_is_packed_without_padding_and_what_rows_share_stands_once() -> None:
    import torch

    from cai.training.packed import pack

    ids = torch.tensor([[7, 8, 1, 2, 0], [7, 8, 3, 0, 0], [7, 8, 1, 2, 0], [9, 8, 1, 2, 4], [7, 8, 1, 5, 6]])
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1] * 5, [1] * 5])
    packed = pack(ids, mask)
    assert packed.ids.tolist() == [[7, 8, 1, 2, 3, 9, 8, 1, 2, 4, 5, 6]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 2, 0, 1, 2, 3, 4, 3, 4]]
    assert torch.equal(packed.ids[0][packed.places][mask.bool()], ids[mask.bool()])
    assert [end - start for start, end in packed.own] == [4, 1, 0, 5, 2]
    with pytest.raises(ValueError, match="padded on the right"):
        pack(ids, mask.flip(1))


def test_progress_off_a_terminal_is_one_line_in_thirty_seconds_with_loss_and_time_left() -> None:
    from cai.training.callbacks import ShowProgress

    said: list[str] = []
    now = [0.0]
    show = ShowProgress("sft", said.append, clock=lambda: now[0], terminal=False)
    state = SimpleNamespace(global_step=0, max_steps=20)
    show.on_train_begin(None, state, None)
    for step in range(1, 11):
        now[0] += 7.0
        state.global_step = step
        show.on_log(None, state, None, {"loss": 2.0 - step / 10})
    assert said == ["sft step 5/20 loss 1.5000 eta 1m45s", "sft step 10/20 loss 1.0000 eta 1m10s"]


def test_progress_on_a_terminal_is_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    from cai.training.callbacks import ShowProgress

    show = ShowProgress("dpo", lambda line: None, clock=lambda: 0.0, terminal=True)
    show.on_log(None, SimpleNamespace(global_step=5, max_steps=10), None, {"loss": 0.5})
    assert capsys.readouterr().err == "\r[############............] dpo step 5/10 loss 0.5000 eta 0m00s"


def test_a_curve_keeps_one_row_a_step_and_only_its_own_split(tmp_path: Path) -> None:
    from cai.training.callbacks import DPO_COLUMNS, curve, write_csv

    history = [
        {"step": 0, "eval_loss": 0.7, "eval_rewards/accuracies": 0.0, "eval_rewards/margins": 0.0, "epoch": None},
        {
            "step": 1,
            "loss": 0.69314718,
            "grad_norm": 1.5,
            "rewards/accuracies": 0.0,
            "rewards/margins": 0.0,
            "epoch": 0.5,
        },
        {"step": 2, "loss": 0.5, "grad_norm": 1.25, "rewards/accuracies": 0.0, "rewards/margins": -0.1, "epoch": 1.0},
        {"step": 2, "train_runtime": 12.5, "train_loss": 0.6},
        {"step": 2, "guard/share": 0.25},
    ]
    train = curve(history, DPO_COLUMNS, "train")
    assert [(row["step"], row["loss"], row["reward_accuracy"]) for row in train] == [
        (1, 0.69314718, None),
        (2, 0.5, 0.0),
    ]
    (evaluation,) = curve(history, DPO_COLUMNS, "eval")
    assert (evaluation["loss"], evaluation["reward_accuracy"]) == (0.7, None)
    assert "grad_norm" not in evaluation
    write_csv(tmp_path / "train.csv", [{key: row[key] for key in ("step", "loss", "reward_accuracy")} for row in train])
    assert (tmp_path / "train.csv").read_text() == "step,loss,reward_accuracy\n1,0.693147,\n2,0.5,0\n"

"""What makes training on a CPU affordable: the same mathematics with fewer passes over memory.

Three things cost most of a LoRA step of a small model on a CPU (measured with SmolLM2-135M, benchmarks/training.py):

* TRL projects *every* position onto the vocabulary where there is no Triton, prompts and padding included, and
  recomputes the projection in backward with fp32 products. :func:`project_completions` projects the positions that
  carry loss, and keeps the gradient that the forward pass can already know.
* peft multiplies fp32 adapters with fp32 copies of bf16 activations. :func:`fuse_adapters` multiplies in the dtype of
  the base weights; the adapters and their optimizer state stay fp32.
* glibc gives every large tensor back to the kernel. :func:`keep_freed_memory` tells it not to.

On an accelerator none of them is applied: TRL's own kernels do the same there.
"""

from __future__ import annotations

import ctypes
import sys
import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cai.training.packed import ARCHITECTURES, PackedStates

POSITIONS_AT_ONCE = 256
"""Positions projected together: 256 x 49,152 fp32 logits are 48 MiB."""


def keep_freed_memory() -> bool:
    """Whether the allocator now keeps what it frees (Linux with glibc only); costs resident memory, saves page faults.

    Source: reference measurements, 3.3 M page faults for 16 rows become 1.1 M, system time 5.5 s becomes 1.7 s.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    settings = ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 1 << 28))
    return all(mallopt(name, value) == 1 for name, value in settings)


class _CompletionLogProbs(torch.autograd.Function):
    """log p(target) of each position, with its gradient towards the hidden state found in the forward pass.

    d log p(y) / d hidden = (onehot(y) - p) W depends on nothing that comes later, so backward is one multiplication.
    The output weights are frozen (an adapter never trains them), so no gradient of theirs is asked for.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
        n = hidden.shape[0]
        log_probs = torch.empty(n, dtype=torch.float32)
        entropy = torch.empty(n, dtype=torch.float32)
        is_top1 = torch.empty(n, dtype=torch.bool)
        slopes = torch.empty_like(hidden) if keep else None
        for start in range(0, n, POSITIONS_AT_ONCE):
            rows = slice(start, min(start + POSITIONS_AT_ONCE, n))
            wanted = targets[rows].unsqueeze(-1)
            logits = (hidden[rows] @ weight.t()).float()
            top = logits.amax(-1, keepdim=True)
            chosen = logits.gather(-1, wanted)
            is_top1[rows] = (chosen >= top).squeeze(-1)
            logits.sub_(top)
            powers = logits.exp()
            total = powers.sum(-1, keepdim=True)
            log_total = total.log()
            log_probs[rows] = (chosen - top - log_total).squeeze(-1)
            probs = powers.div_(total)
            entropy[rows] = (log_total - torch.linalg.vecdot(probs, logits).unsqueeze(-1)).squeeze(-1)
            if slopes is not None:
                probs.neg_().scatter_add_(-1, wanted, torch.ones_like(chosen))
                slopes[rows] = probs.to(weight.dtype) @ weight
        if slopes is not None:
            ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(entropy, is_top1)
        return log_probs, entropy, is_top1

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return (slopes.float() * grad.unsqueeze(-1)).to(slopes.dtype), None, None, None


def completion_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p(target), entropy and whether the target is the most likely token: fp32, fp32, bool, each of shape [n].

    Args:
        hidden: [n, width] last hidden states of the positions that carry loss.
        weight: [vocabulary, width] output weights; a gradient is computed for ``hidden`` only.
        targets: [n] ids of the next tokens.
    """
    keep = torch.is_grad_enabled() and hidden.requires_grad
    result: tuple[Tensor, Tensor, Tensor] = _CompletionLogProbs.apply(hidden, weight, targets, keep)
    return result


def project_completions(model: Any) -> None:
    """Replace the fused output head that a TRL trainer gave ``model`` by one that skips positions without loss.

    Call it after the trainer was built, with the model inside the adapter. ``model(..., fused_lm_head=True)`` then
    returns what TRL's head returns, zero at every position without loss; other calls are left as they are. Models
    that scale or cap their logits, and output weights that are trained, keep TRL's head.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    config = model.config.get_text_config()
    changes_logits = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier")
    if any(
        getattr(config, name, None) is not None for name in (*changes_logits, "logits_scaling", "num_local_experts")
    ):
        return
    head = model.get_output_embeddings()
    if head.bias is not None or head.weight.requires_grad:
        return
    trl_forward = model.forward
    mean_vector = head.weight.detach().float().mean(0)
    packed_states = None
    if config.model_type in ARCHITECTURES and not getattr(config, "attention_dropout", 0):
        packed_states = PackedStates(model.base_model)
    reference = _Reference(model)

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Tensor | None = None, **kwargs: Any) -> Any:
        if not fused_lm_head or labels is None:
            return trl_forward(*args, fused_lm_head=fused_lm_head, labels=labels, **kwargs)
        kwargs.pop("num_items_in_batch", None)
        # peft hands on every argument it knows, None where it was not given.
        kwargs = {key: value for key, value in kwargs.items() if value is not None} | {"use_cache": False}
        key = reference.key(labels, kwargs) if not args else None
        if key in reference.kept and not torch.is_grad_enabled():
            return reference.kept[key]
        targets = labels[:, 1:]
        mask = targets != -100
        if packed_states is not None and not args and kwargs.keys() <= {"input_ids", "attention_mask", "use_cache"}:
            states, places = packed_states(kwargs["input_ids"], kwargs.get("attention_mask"))
            hidden = states[places[:, :-1][mask]]
        else:
            hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1][mask]
        weight = self.get_output_embeddings().weight
        found = completion_log_probs(hidden.to(weight.dtype), weight, targets[mask])
        log_probs, entropy, is_top1 = (x.new_zeros(mask.shape).masked_scatter(mask, x) for x in found)
        # The mean logit of a position is its hidden state times the mean output vector: no projection is needed.
        mean_logits = hidden.detach().float() @ mean_vector
        mean_logits = mean_logits.new_zeros(mask.shape).masked_scatter(mask, mean_logits)
        loss = -log_probs.sum() / mask.sum().clamp(min=1)
        beside: dict[str, Any] = {
            "entropy": entropy,
            "mean_logits": mean_logits,
            "is_top1": is_top1,
            "label_mask": mask,
        }
        if key is not None:
            reference.keep(key, FusedCausalLMOutput(loss=loss.detach(), log_probs=log_probs.detach(), **beside))
        return FusedCausalLMOutput(loss=loss, log_probs=log_probs, **beside)

    model.forward = types.MethodType(forward, model)


class _Reference:
    """What a batch gives under the weights below the adapter, which DPO asks for more than once.

    Before the first step the policy is its own reference, and an evaluation batch comes again after the last one. Kept
    are therefore outputs of evaluation batches and of what an adapter gives that is still zero: bit for bit what would
    be computed again (adding zero changes nothing), so a resumed run ends with the same bytes.
    """

    _MOST_BATCHES = 512

    def __init__(self, model: nn.Module) -> None:
        from peft.tuners.lora.layer import LoraLayer

        self.model = model
        self.layers: list[Any] = [module for module in model.modules() if isinstance(module, LoraLayer)]
        self.kept: dict[bytes | None, Any] = {}

    def key(self, labels: Tensor, inputs: dict[str, Any]) -> bytes | None:
        """The batch's name where the adapters add nothing to it, being off or still zero; None elsewhere."""
        if not self.layers or inputs.keys() != {"input_ids", "attention_mask", "use_cache"}:
            return None
        if not self._off() and any(b.weight.any() for layer in self.layers for b in layer.lora_B.values()):
            return None
        shape = str(tuple(labels.shape)).encode()
        return shape + b"".join(x.numpy().tobytes() for x in (labels, inputs["input_ids"], inputs["attention_mask"]))

    def keep(self, key: bytes, outputs: Any) -> None:
        """Nothing; ``outputs`` are kept, but for those of a training batch's reference: it does not come again."""
        if self.model.training and self._off():
            return
        while len(self.kept) >= self._MOST_BATCHES:
            self.kept.pop(next(iter(self.kept)))
        self.kept[key] = outputs

    def _off(self) -> bool:
        return all(layer.disable_adapters for layer in self.layers)


class _AdaptedLinear(torch.autograd.Function):
    """x W^T + (x A^T)(s B)^T in the dtype of W, with gradients for x, A and B in theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low_a, low_b = a.to(weight.dtype), (b * scale).to(weight.dtype)
        inner = flat @ low_a.t()
        result = F.linear(flat, weight, bias)
        result.addmm_(inner, low_b.t())
        ctx.save_for_backward(flat, inner, weight, low_a, low_b)
        ctx.scale, ctx.shape, ctx.dtypes = scale, x.shape, (a.dtype, b.dtype)
        return result.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        flat, inner, weight, low_a, low_b = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        grad_inner = grad @ low_b
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_inner, low_a).view(ctx.shape)
        grad_a = (grad_inner.t() @ flat).to(ctx.dtypes[0])
        grad_b = (grad.t() @ inner).to(ctx.dtypes[1]) * ctx.scale
        return grad_x, None, None, grad_a, grad_b, None


def fuse_adapters(model: Any) -> int:
    """How many LoRA layers now multiply in the dtype of their base weights, all in one step.

    Layers with dropout, a variant of LoRA, or trained base weights keep peft's forward; switching adapters off
    (the DPO reference) goes through peft as before.
    """
    from peft.tuners.lora.layer import Linear

    n = 0
    for module in model.modules():
        if not isinstance(module, Linear) or type(module.base_layer) is not nn.Linear or module.lora_variant:
            continue
        if any(not isinstance(dropout, nn.Identity) for dropout in module.lora_dropout.values()):
            continue
        if module.base_layer.weight.requires_grad:
            continue
        layer: Any = module
        layer.forward = types.MethodType(_fused(layer.forward), layer)
        n += 1
    return n


def _fused(peft_forward: Any) -> Any:
    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        active = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or len(active) != 1 or args or kwargs:
            return peft_forward(x, *args, **kwargs)
        (name,) = active
        base = self.base_layer
        return _AdaptedLinear.apply(
            x, base.weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        )

    return forward

"""DPO with a target per row: the judge's probability that the chosen response is the better one.

TRL's losses take every pair for certain. With l the loss as a function of the difference d of the implicit rewards,
a pair that is right with probability p costs

    p l(d) + (1 - p) l(-d) = l(d) + (1 - p) (l(-d) - l(d))

and for every loss offered here the bracket is linear in d, so TRL's own loss stays as it is and one term is added:

    sigmoid       l(-d) - l(d) = beta d                       d = difference of summed log-ratios
    sigmoid_norm                 beta d                       d = difference of mean log-ratios
    robust                       beta d / (1 - 2 epsilon)     d as in sigmoid
    ipo                          2 d / beta                   d as in sigmoid_norm

At p = 1 the term is zero and the loss is TRL's to the bit. At p = 1/2 the loss is even in d: it pulls policy and
reference together and prefers neither response. Source of the sigmoid case: conservative DPO (Mitchell 2023), with the
smoothing of each row given by its judge instead of one constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

SOFT_LOSSES = ("sigmoid", "sigmoid_norm", "robust", "ipo")


def soft_term(loss: str, summed: Tensor, mean: Tensor, p: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """What a row with probability ``p`` costs beyond its loss at p = 1, shape [pairs].

    Args:
        loss: one of SOFT_LOSSES.
        summed: [pairs] log-ratio of the chosen minus that of the rejected completion, summed over tokens.
        mean: [pairs] the same with each log-ratio divided by its completion's tokens.
        p: [pairs] probability that the chosen one is better, 0..1.
        beta: strength of the tie to the reference.
        label_smoothing: epsilon of the loss "robust".

    >>> one = torch.ones(1)
    >>> soft_term("sigmoid", 2 * one, one, 0.75 * one, beta=0.1)
    tensor([0.0500])
    """
    doubt = 1 - p
    if loss == "sigmoid":
        return doubt * beta * summed
    if loss == "sigmoid_norm":
        return doubt * beta * mean
    if loss == "robust":
        return doubt * beta * summed / (1 - 2 * label_smoothing)
    if loss == "ipo":
        return doubt * 2 * mean / beta
    raise ValueError(f"no soft form of the loss {loss!r}; there is one of {', '.join(SOFT_LOSSES)}")


class PairCollator(DataCollatorForPreference):
    """TRL's batch of pairs, with ``p_chosen`` [pairs] where the rows have it."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch: chosen rows first, then rejected ones, padded on the right."""
        batch = super().torch_call(examples)
        if "p_chosen" in examples[0]:
            batch["p_chosen"] = torch.tensor([example["p_chosen"] for example in examples], dtype=torch.float32)
        return batch


class SoftDPOTrainer(DPOTrainer):
    """DPOTrainer over rows of ids, whose loss honours ``p_chosen``, and which logs what Figure 2 needs beside TRL's.

    Rows: {prompt_ids, chosen_ids, rejected_ids, length} and, for soft labels, p_chosen. Added to the log:
    ``logps_per_token/*`` and ``drift/*`` (log-probability of the completions now minus under the reference, per pair).
    """

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset  # already ids: cai.training.labels makes and proves them

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        if "p_chosen" not in columns:
            columns.append("p_chosen")

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        batch = dict(inputs)
        p = batch.pop("p_chosen", None)
        with self._outputs() as seen:
            result = super()._compute_loss(model, batch, return_outputs)
        policy, reference = self._summed(seen, batch)
        n_tokens = batch["completion_mask"][:, 1:].sum(dim=1).clamp(min=1)
        self._log_levels(policy.detach(), reference, n_tokens)
        if p is None:
            return result
        ratios = policy - reference
        # TRL divides by the unshifted count; it is the same number, because a prompt is never empty.
        chosen, rejected = (ratios / n_tokens).chunk(2)
        mean = chosen - rejected
        chosen, rejected = ratios.chunk(2)
        extra = ratios.new_zeros(())
        for loss_type, weight in zip(self.loss_types, self.loss_weights, strict=True):
            if loss_type != "sft":
                term = soft_term(loss_type, chosen - rejected, mean, p, self.beta, self.label_smoothing)
                extra = extra + weight * term.mean()
        if return_outputs:
            loss, outputs = result
            return loss + extra, outputs
        return result + extra

    @contextmanager
    def _outputs(self) -> Iterator[list[Tensor]]:
        """The log-probabilities [2 pairs, tokens] of every forward pass inside the block: policy, then reference."""
        seen: list[Tensor] = []

        def keep(module: Any, inputs: Any, outputs: Any) -> None:
            log_probs = getattr(outputs, "log_probs", None)
            if log_probs is not None:
                seen.append(log_probs)

        models = [self.accelerator.unwrap_model(self.model)]
        if self.ref_model is not None:
            models.append(self.accelerator.unwrap_model(self.ref_model))
        handles = [model.register_forward_hook(keep) for model in models]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def _summed(self, seen: Sequence[Tensor], batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        policy = seen[0].sum(dim=1)
        if self.precompute_ref_logps:
            return policy, torch.cat((batch["ref_chosen_logps"], batch["ref_rejected_logps"]))
        return policy, seen[1].sum(dim=1)

    def _log_levels(self, policy: Tensor, reference: Tensor, n_tokens: Tensor) -> None:
        model: Any = self.model
        mode = "train" if model.training else "eval"
        for label, values in (("logps_per_token", policy / n_tokens), ("drift", policy - reference)):
            for side, part in zip(("chosen", "rejected"), values.chunk(2), strict=True):
                self._metrics[mode][f"{label}/{side}"].append(self.accelerator.gather(part).mean().item())

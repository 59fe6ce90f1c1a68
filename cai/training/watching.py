"""What the collapse guard looks at: answers to held-out prompts, and the measures of collapse that the report uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cai.errors import ParamsError
from cai.scoring.degeneration import flags
from cai.training.callbacks import Watch
from cai.training.labels import Turns, rendered_prompt
from cai.training.tuning import Limits

TEMPERATURE, TOP_P, TOP_K = 0.7, 0.9, 50
"""As in the measurements that the limits come from (docs/design.md section 3), and without a repetition penalty: it
would hide the loops that are looked for."""

PROMPTS_AT_ONCE = 128

MEASURES = ("degenerate_share", "repeated_sentence_share", "no_stop_share", "chosen_logp_drop")
"""What may be limited; the last one, in DPO only, is read from the log and not from answers."""


@dataclass(frozen=True)
class Written:
    """One answer, and whether it ended by itself within the budget."""

    text: str
    ended: bool


def degeneration_watch(rows: Sequence[Mapping[str, Any]], limits: Limits, *, name: str, seed: int) -> Watch:
    """A watch over answers to the prompts of the first ``limits.n_prompts`` rows, one a prompt, in the order of ids.

    Args:
        rows: {id, turns, ...}: the rows held out for evaluation.
        limits: see Limits.
        name: the stage, for messages.
        seed: of the draws; every look draws with the same noise.

    Raises:
        ParamsError: nothing is held out, or a limit names no measure.
    """
    unknown = sorted(set(limits.max) - set(MEASURES))
    if unknown:
        raise ParamsError(f"{name}.guard.max", "no such measure", got=", ".join(unknown), expected=", ".join(MEASURES))
    contexts: dict[str, Turns] = {}
    for row in sorted(rows, key=lambda row: str(row["id"])):
        contexts.setdefault(repr(row["turns"]), row["turns"])
    chosen = list(contexts.values())[: limits.n_prompts]
    if not chosen:
        raise ParamsError(
            f"{name}.guard", "has no held-out prompt to look at", next_step="every_steps: 0, or raise the split's cap"
        )

    def sample(model: Any, tokenizer: Any) -> list[Written]:
        return answers(model, tokenizer, chosen, limits.max_new_tokens, seed)

    return Watch(sample, shares)


def shares(written: Sequence[Written]) -> dict[str, float]:
    """The share of answers that are degenerate, say a sentence three times, or do not end within the budget.

    >>> shares([Written("I can't help with that.", True), Written("Bye now, my friend. " * 9, False)])
    {'degenerate_share': 0.5, 'repeated_sentence_share': 0.5, 'no_stop_share': 0.5}
    """
    found = [flags(one.text) for one in written]
    return {
        "degenerate_share": sum(one.degenerate for one in found) / len(found),
        "repeated_sentence_share": sum(one.repeated_sentence for one in found) / len(found),
        "no_stop_share": sum(not one.ended for one in written) / len(written),
    }


def answers(model: Any, tokenizer: Any, contexts: Sequence[Turns], max_new_tokens: int, seed: int) -> list[Written]:
    """One sampled answer a context, in order; longest prompts first in batches, the same noise at every call."""
    prompts = [rendered_prompt(tokenizer, turns) for turns in contexts]
    order = sorted(range(len(prompts)), key=lambda place: (-len(prompts[place]), place))
    stops = stop_ids(model, tokenizer)
    found: dict[int, Written] = {}
    torch.manual_seed(seed)
    for start in range(0, len(order), PROMPTS_AT_ONCE):
        batch = order[start : start + PROMPTS_AT_ONCE]
        longest = len(prompts[batch[0]])
        ids = torch.full((len(batch), longest), int(tokenizer.pad_token_id))
        mask = torch.zeros_like(ids)
        for row, place in enumerate(batch):
            ids[row, longest - len(prompts[place]) :] = torch.tensor(prompts[place])
            mask[row, longest - len(prompts[place]) :] = 1
        device = next(model.parameters()).device
        drawn = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            do_sample=True,
            temperature=TEMPERATURE,
            top_p=TOP_P,
            top_k=TOP_K,
            repetition_penalty=1.0,
            max_new_tokens=max_new_tokens,
            eos_token_id=stops,
            pad_token_id=int(tokenizer.pad_token_id),
            use_cache=True,
        )[:, longest:].tolist()
        for place, tokens in zip(batch, drawn, strict=True):
            end = next((at for at, token in enumerate(tokens) if token in stops), None)
            text = tokenizer.decode(tokens[:end], skip_special_tokens=True)
            found[place] = Written(text.strip(), end is not None)
    return [found[place] for place in range(len(prompts))]


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's and those of the generation config."""
    named = getattr(model.generation_config, "eos_token_id", None)
    found = set(named if isinstance(named, list) else [] if named is None else [named])
    return sorted({int(token) for token in found | {tokenizer.eos_token_id} if token is not None})

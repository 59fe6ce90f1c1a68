"""Which tokens a row teaches: pure functions from texts and a tokenizer to ids and labels.

One row is ``prompt`` + ``completion``. The prompt is what the chat template renders for the whole context with the
generation prompt, tokenized on its own, so that training sees the very ids that sampling sees. The completion is what
the template renders after it, up to and including the end-of-turn token; what a template puts behind that (SmolLM2: a
newline) is never sampled and therefore not trained. Only the completion carries loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cai.errors import ModelError

NO_LOSS = -100
"""The label that torch's and TRL's losses leave out."""

Turns = Sequence[Mapping[str, str]]
"""A context: {"role", "text"} of each turn, the last one a user's."""

EosOnCutRows = Literal["drop", "mask", "teach"]
"""What a row cut at the token budget teaches: nothing | its words, but not the stop | its words and the stop."""


@dataclass(frozen=True)
class Dropped:
    """A row that is not trained on, and why."""

    row_id: str
    reason: str


@dataclass(frozen=True)
class Example:
    """One row of supervised training: ids, and for each id its label (the id itself, or NO_LOSS)."""

    row_id: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def n_completion_tokens(self) -> int:
        """How many tokens carry loss."""
        return sum(label != NO_LOSS for label in self.labels)


@dataclass(frozen=True)
class Pair:
    """One row of preference training: the shared prompt, both completions, and P(chosen is the better one)."""

    row_id: str
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    p_chosen: float


def end_of_turn(tokenizer: Any) -> int:
    """The id of the token with which the chat template ends an assistant's turn.

    Raises:
        ModelError: the tokenizer has no chat template, or no special token stands after the assistant's words.
    """
    if not tokenizer.chat_template:
        raise ModelError(
            "tokenizer",
            "no chat template",
            expected="one",
            next_step="put another chat_template.jinja into the model folder",
        )
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False)
    tail = rendered[rendered.rindex("answer") + len("answer") :]
    # Not all_special_ids: only those with a part (bos, eos, pad) are in it, and Llama-3's <|eot_id|> has none.
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    for token in _ids(tokenizer, tail):
        if token in special:
            return int(token)
    raise ModelError(
        "chat template",
        "no special token ends the assistant's turn, so nothing could teach the model to stop",
        got=repr(tail),
        expected=f"for example {tokenizer.eos_token}",
        next_step="put another chat_template.jinja into the model folder",
    )


def rendered_prompt(tokenizer: Any, turns: Turns) -> tuple[int, ...]:
    """The ids of the context with its generation prompt: what sampling sees, what training puts before a response."""
    context = [{"role": turn["role"], "content": turn["text"]} for turn in turns]
    return _ids(tokenizer, tokenizer.apply_chat_template(context, tokenize=False, add_generation_prompt=True))


def prompt_and_completion(
    tokenizer: Any, turns: Turns, response: str, stop: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids of the context with its generation prompt, and those of the response, the last one being ``stop``.

    Args:
        tokenizer: with a chat template.
        turns: the context, each {"role", "text"}.
        response: the assistant's words.
        stop: id of the end-of-turn token, from :func:`end_of_turn`.

    Raises:
        ModelError: the template renders the context differently once the response follows.
    """
    context = [{"role": turn["role"], "content": turn["text"]} for turn in turns]
    prompt = tokenizer.apply_chat_template(context, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*context, {"role": "assistant", "content": response}], tokenize=False)
    if not whole.startswith(prompt):
        raise ModelError(
            "chat template",
            "the context is rendered differently once an answer follows, so training and sampling would not agree",
            next_step="put another chat_template.jinja into the model folder",
        )
    completion = _ids(tokenizer, whole[len(prompt) :])
    if stop not in completion:
        raise ModelError("chat template", "an answer was rendered without its end-of-turn token", got=f"no id {stop}")
    return _ids(tokenizer, prompt), completion[: completion.index(stop) + 1]


def sft_examples(
    rows: Iterable[Mapping[str, Any]], tokenizer: Any, *, max_length: int, eos_on_cut_rows: EosOnCutRows
) -> tuple[list[Example], list[Dropped]]:
    """Examples in the order of the rows, and the rows left out with their reasons; together all rows.

    Args:
        rows: {id, turns, response, cut}; ``cut``: the response had met the token budget when it was written.
        tokenizer: with a chat template.
        max_length: tokens of prompt and completion; a longer row is left out whole, never cut.
        eos_on_cut_rows: see :data:`EosOnCutRows`.
    """
    stop, control = end_of_turn(tokenizer), control_tokens(tokenizer)
    kept: list[Example] = []
    dropped: list[Dropped] = []
    for row in rows:
        reason = _refused(row["turns"], (row["response"],), control)
        if reason is None and row.get("cut", False) and eos_on_cut_rows == "drop":
            reason = "cut_at_budget"
        if reason is None:
            prompt, completion = prompt_and_completion(tokenizer, row["turns"], row["response"], stop)
            if len(prompt) + len(completion) > max_length:
                reason = "too_long"
        if reason is not None:
            dropped.append(Dropped(str(row["id"]), reason))
            continue
        labels = (NO_LOSS,) * len(prompt) + completion
        if row.get("cut", False) and eos_on_cut_rows == "mask":
            labels = (*labels[:-1], NO_LOSS)
        kept.append(Example(str(row["id"]), prompt + completion, labels))
    return kept, dropped


def preference_pairs(
    rows: Iterable[Mapping[str, Any]], tokenizer: Any, *, max_length: int, eos_on_cut_rows: EosOnCutRows
) -> tuple[list[Pair], list[Dropped]]:
    """Pairs in the order of the rows, and the rows left out with their reasons; together all rows.

    Args:
        rows: {id, turns, chosen, rejected, p_chosen} and, where known, {chosen_cut, rejected_cut}.
        tokenizer: with a chat template.
        max_length: tokens of the prompt and the longer completion.
        eos_on_cut_rows: "mask" leaves the end-of-turn token off a completion that was cut at the token budget.
    """
    stop, control = end_of_turn(tokenizer), control_tokens(tokenizer)
    kept: list[Pair] = []
    dropped: list[Dropped] = []
    for row in rows:
        cuts = (bool(row.get("chosen_cut", False)), bool(row.get("rejected_cut", False)))
        reason = _refused(row["turns"], (row["chosen"], row["rejected"]), control)
        if reason is None and row["chosen"] == row["rejected"]:
            reason = "same_text"
        if reason is None and any(cuts) and eos_on_cut_rows == "drop":
            reason = "cut_at_budget"
        if reason is None:
            sides: list[tuple[int, ...]] = []
            prompt: tuple[int, ...] = ()
            for text, cut in zip((row["chosen"], row["rejected"]), cuts, strict=True):
                prompt, completion = prompt_and_completion(tokenizer, row["turns"], text, stop)
                sides.append(completion[:-1] if cut and eos_on_cut_rows == "mask" else completion)
            if len(prompt) + max(map(len, sides)) > max_length:
                reason = "too_long"
        if reason is not None:
            dropped.append(Dropped(str(row["id"]), reason))
            continue
        kept.append(Pair(str(row["id"]), prompt, sides[0], sides[1], float(row["p_chosen"])))
    return kept, dropped


def stop_share(completions: Sequence[Sequence[int]], stop: int) -> float | None:
    """Share of rows whose trained tokens end with the end-of-turn token; None where there is no row.

    >>> stop_share([(-100, 5, 2), (-100, 5, -100)], stop=2)
    0.5
    """
    if not completions:
        return None
    return sum(bool(ids) and ids[-1] == stop for ids in completions) / len(completions)


def n_uncut_without_stop(completions: Iterable[tuple[Sequence[int], bool]], stop: int) -> int:
    """How many of (trained tokens, whether cut at the budget) were ended by the model and yet do not end with the stop.

    >>> n_uncut_without_stop([((5, 2), False), ((5,), True), ((5, -100), False)], stop=2)
    1
    """
    return sum(not cut and (not ids or ids[-1] != stop) for ids, cut in completions)


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """The strings that the tokenizer reads as control tokens wherever they stand, longest first."""
    found = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def _refused(turns: Sequence[Mapping[str, str]], responses: Sequence[str], control: Sequence[str]) -> str | None:
    if not turns or turns[-1]["role"] != "user":
        return "context_does_not_end_with_a_prompt"
    if any(response is None or not response.strip() for response in responses):
        return "empty_response"
    # "<|im_end|>" inside a text would become a real end of turn: the row would teach to stop in the middle.
    if any(token in text for text in (*(turn["text"] for turn in turns), *responses) for token in control):
        return "control_token_in_text"
    return None


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

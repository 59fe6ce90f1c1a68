"""Raw rows to the prompts and instructions that the pipeline may use, every row accounted for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.prompts import PROMPTS, SPLITS
from cai.dialogue import Dialogue, Turn, prompt_id, structs
from cai.errors import ArtifactError
from cai.params import Section
from cai.text import duplicates
from cai.text.transcripts import row_contexts

Share = Field(ge=0.0, le=1.0)
Cap = Field(ge=0)


class Shares(Section):
    """The expected share of the clusters in each split; they sum to 1."""

    sft_train: float = Share
    sft_test: float = Share
    pref_train: float = Share
    pref_test: float = Share
    heldout: float = Share

    @model_validator(mode="after")
    def _sum_to_one(self) -> Shares:
        total = sum(self.model_dump().values())
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares sum to {total:.6g}, not 1")
        return self


class Caps(Section):
    """The most prompts a split may hold; null: no limit. What is over is dropped and counted as over_cap."""

    sft_train: int | None = Cap
    sft_test: int | None = Cap
    pref_train: int | None = Cap
    pref_test: int | None = Cap
    heldout: int | None = Cap


class InstructionCut(Section):
    """How many instruction rows are considered, which share is kept for testing, and caps a split."""

    limit: int | None = Field(ge=1)
    test_share: float = Share
    train_cap: int | None = Cap
    test_cap: int | None = Cap


class Cut(Section):
    """The ``prompts`` section."""

    turns: Literal["last", "every", "first"]
    limit: int | None = Field(ge=1)
    near_duplicates: float = Field(gt=0.0, le=1.0)
    seed: int
    shares: Shares
    caps: Caps
    instructions: InstructionCut


@dataclass(frozen=True)
class Built:
    """The two frames and what became of every row."""

    prompts: pl.DataFrame
    instructions: pl.DataFrame
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Candidate:
    owner: int  # the transcript it comes from
    source: str
    dialogue: Dialogue

    @property
    def human_turns(self) -> list[str]:
        return [turn.text for turn in self.dialogue if turn.role == "user"]


def build(raw: pl.DataFrame, instructions: pl.DataFrame, evaluation: Sequence[Sequence[str]], cut: Cut) -> Built:
    """Prompts, instructions and their accounting.

    Args:
        raw: ``data/raw/red_team.parquet``.
        instructions: ``data/raw/instructions.parquet``.
        evaluation: the user turns of every evaluation prompt; no row that holds one of them is kept.
        cut: the ``prompts`` section.

    Raises:
        ArtifactError: no prompt is left.
    """
    asked = sorted({turn for turns in evaluation for turn in turns})
    prompts, counts = cut_prompts(raw, asked, cut)
    held_out = prompts.filter(pl.col("split") == "heldout").get_column("turns").to_list()
    kept_back = sorted({turn["text"] for turns in held_out for turn in turns if turn["role"] == "user"})
    helpful, helpful_counts = cut_instructions(instructions, asked, cut, kept_back)
    return Built(prompts, helpful, {**counts, "instructions": helpful_counts})


def cut_prompts(raw: pl.DataFrame, asked: Sequence[str], cut: Cut) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The prompts frame, and n_transcripts_in, n_transcripts_used, n_in, n_kept, dropped, splits, answers_flawed.

    ``limit`` counts transcripts (raw rows), taken in the order of a hash of their content, so that a limited run is
    an unbiased sample and a larger limit keeps what a smaller one had. n_in counts one context a human turn that
    ``turns`` names, and one for a transcript that has none; n_in = n_kept + the sum of ``dropped``.
    ``answers_flawed`` counts flaws after the last human turn: they do not touch the context, so they drop nothing.

    A context is dropped for the first of: a flaw of its transcript, an evaluation prompt among its human turns, an
    exact duplicate, a near duplicate (human turns together) of a kept context of another transcript, a full split.
    Every choice among equals goes by hash of content, never by place, so the order of the rows does not matter.
    """
    rows = raw.select("source", "chosen", "rejected", "transcript").rows()
    used = _in_hash_order(rows, cut.seed, cut.limit)
    dropped: Counter[str] = Counter()
    flawed: Counter[str] = Counter()
    candidates: list[_Candidate] = []
    n_in = 0
    for owner, (source, chosen, rejected, transcript) in enumerate(used):
        found, later = row_contexts(chosen, rejected, transcript, cut.turns)
        n_in += len(found)
        flawed.update(later)
        for pairs, reason in found:
            if pairs is None:
                dropped[reason or "unparsed"] += 1
            else:
                candidates.append(_Candidate(owner, source, tuple(Turn(role, text) for role, text in pairs)))
    candidates = _without_evaluation(candidates, asked, cut.near_duplicates, dropped)
    by_id = _without_duplicates(candidates, cut.near_duplicates, dropped)
    clusters = duplicates.clusters([c.human_turns[0] for c in by_id.values()], cut.near_duplicates)
    split_of = {
        id_: _split(cluster, cut.seed, cut.shares.model_dump()) for id_, cluster in zip(by_id, clusters, strict=True)
    }
    kept = _capped(split_of, cut.caps.model_dump(), cut.seed, dropped)
    records: list[dict[str, object]] = [
        {
            "prompt_id": id_,
            "split": split_of[id_],
            "cluster_id": cluster,
            "source": candidate.source,
            "prompt": candidate.dialogue[-1].text,
            "turns": structs(candidate.dialogue),
            "n_turns": len(candidate.dialogue),
        }
        for (id_, candidate), cluster in zip(by_id.items(), clusters, strict=True)
        if id_ in kept
    ]
    if not records:
        why = ", ".join(f"{reason} {n}" for reason, n in sorted(dropped.items())) or "no rows"
        raise ArtifactError(
            "data/raw/red_team.parquet",
            "no prompt is left",
            got=why,
            expected='transcripts like "\\n\\nHuman: ...\\n\\nAssistant: ..."',
            next_step="check what fetch read, then prompts.turns and prompts.caps",
        )
    frame = PROMPTS.frame(sorted(records, key=lambda record: str(record["prompt_id"])))
    return frame, {
        "n_transcripts_in": len(rows),
        "n_transcripts_used": len(used),
        "n_in": n_in,
        "n_kept": frame.height,
        "dropped": dict(sorted(dropped.items())),
        "splits": {split: sum(record["split"] == split for record in records) for split in SPLITS},
        "answers_flawed": dict(sorted(flawed.items())),
    }


def cut_instructions(
    raw: pl.DataFrame, asked: Sequence[str], cut: Cut, held_out: Sequence[str] = ()
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The instructions frame, and n_rows_in, n_in, n_kept, dropped, splits; the same rules as for prompts.

    ``held_out``: the user turns of the held-out prompts, which `answer` asks beside the evaluation prompts.
    """
    section = cut.instructions
    rows = raw.select("instruction", "input", "output").rows()
    used = _in_hash_order(rows, cut.seed, section.limit)
    dropped: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []
    for instruction, material, output in used:
        prompt = "\n\n".join(part.strip() for part in (instruction or "", material or "") if part.strip())
        if not (instruction or "").strip():
            dropped["empty_instruction"] += 1
        elif not (output or "").strip():
            dropped["empty_output"] += 1
        else:
            pairs.append((prompt, output.strip()))
    for reason, theirs in (("evaluation_prompt", asked), ("heldout_prompt", held_out)):
        hits = duplicates.matched([prompt for prompt, _ in pairs], theirs, cut.near_duplicates)
        dropped[reason] += sum(hit is not None for hit in hits)
        pairs = [pair for pair, hit in zip(pairs, hits, strict=True) if hit is None]
    clean = sorted(pairs)
    by_id: dict[str, tuple[str, str]] = {}
    for prompt, output in clean:
        # Sorted: of several answers to one instruction the first in code point order stays, whatever the row order.
        by_id.setdefault(prompt_id((Turn("user", prompt),)), (prompt, output))
    dropped["duplicate"] += len(clean) - len(by_id)
    repeats = duplicates.kept([prompt for prompt, _ in by_id.values()], cut.near_duplicates)
    unique = {id_: pair for (id_, pair), repeat in zip(by_id.items(), repeats, strict=True) if repeat is None}
    dropped["near_duplicate"] += len(by_id) - len(unique)
    shares = {"train": 1.0 - section.test_share, "test": section.test_share}
    split_of = {id_: _split(id_, cut.seed, shares) for id_ in unique}
    kept = _capped(split_of, {"train": section.train_cap, "test": section.test_cap}, cut.seed, dropped)
    records: list[dict[str, object]] = [
        {
            "instruction_id": id_,
            "split": split_of[id_],
            "prompt": prompt,
            "turns": structs((Turn("user", prompt),)),
            "response": output,
        }
        for id_, (prompt, output) in sorted(unique.items())
        if id_ in kept
    ]
    return INSTRUCTIONS.frame(records), {
        "n_rows_in": len(rows),
        "n_in": len(used),
        "n_kept": len(records),
        "dropped": {reason: n for reason, n in sorted(dropped.items()) if n},
        "splits": {split: sum(record["split"] == split for record in records) for split in shares},
    }


def _without_evaluation(
    candidates: Sequence[_Candidate], asked: Sequence[str], threshold: float, dropped: Counter[str]
) -> list[_Candidate]:
    texts = [text for candidate in candidates for text in candidate.human_turns]
    hits = duplicates.matched(texts, asked, threshold)
    matching = {text for text, hit in zip(texts, hits, strict=True) if hit is not None}
    clean = []
    for candidate in candidates:
        if not matching.isdisjoint(candidate.human_turns):
            dropped["evaluation_prompt"] += 1
        else:
            clean.append(candidate)
    return clean


def _without_duplicates(
    candidates: Sequence[_Candidate], threshold: float, dropped: Counter[str]
) -> dict[str, _Candidate]:
    by_id: dict[str, _Candidate] = {}
    for candidate in candidates:
        id_ = prompt_id(candidate.dialogue)
        if id_ in by_id:
            dropped["duplicate"] += 1
            if candidate.source >= by_id[id_].source:
                continue
        by_id[id_] = candidate
    ids = sorted(by_id)
    repeats = duplicates.kept(
        ["\n".join(by_id[id_].human_turns) for id_ in ids], threshold, [by_id[id_].owner for id_ in ids]
    )
    if n := sum(repeat is not None for repeat in repeats):
        dropped["near_duplicate"] += n
    return {id_: by_id[id_] for id_, repeat in zip(ids, repeats, strict=True) if repeat is None}


def _in_hash_order(rows: Sequence[Any], seed: int, limit: int | None) -> list[Any]:
    order = sorted(rows, key=lambda row: (_hash(seed, "limit", *row), str(row)))
    return order if limit is None else order[:limit]


def _split(cluster_id: str, seed: int, shares: Mapping[str, float]) -> str:
    """The split of a cluster: a function of its id, the seed and the shares, and of no other row."""
    point = int(_hash(seed, "split", cluster_id)[:13], 16) / 16**13
    total = 0.0
    for split, share in shares.items():
        total += share
        if point < total:
            return split
    return max(shares, key=lambda split: shares[split])  # rounding of the last sum


def _capped(
    split_of: Mapping[str, str], caps: Mapping[str, int | None], seed: int, dropped: Counter[str]
) -> frozenset[str]:
    kept: set[str] = set()
    for split, cap in caps.items():
        ids = sorted((id_ for id_ in split_of if split_of[id_] == split), key=lambda id_: _hash(seed, "cap", id_))
        kept.update(ids[:cap])
        if cap is not None and len(ids) > cap:
            dropped["over_cap"] += len(ids) - cap
    return frozenset(kept)


def _hash(seed: int, *parts: str | None) -> str:
    digest = hashlib.sha256(str(seed).encode())
    for part in parts:
        encoded = b"" if part is None else part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()

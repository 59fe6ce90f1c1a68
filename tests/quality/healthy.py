"""A small healthy set of artifacts, made by hand, in which every expectation holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

from cai.artifacts.cleaned import ASKED, CLEANED, DROPPED, EDITS
from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.preference import EXCLUDED, HUMAN_PAIRS, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.artifacts.table import Table
from cai.dialogue import Turn, prompt_id, structs
from cai.scoring.judge_card import Card, Standing

TABLES: dict[str, Table] = {
    "evaluation_prompts": EVALUATION_PROMPTS,
    "prompts": PROMPTS,
    "instructions": INSTRUCTIONS,
    "responses": RESPONSES,
    "critiques": CRITIQUES,
    "revisions": REVISIONS,
    "cleaned": CLEANED,
    "dropped": DROPPED,
    "edits": EDITS,
    "asked": ASKED,
    "samples": SAMPLES,
    "verdicts": VERDICTS,
    "preferences": PREFERENCES,
    "excluded": EXCLUDED,
    "human_pairs": HUMAN_PAIRS,
    "answers_base": ANSWERS.of("base"),
}
Tables = dict[str, pl.DataFrame]
SIZES = {"sft_train": 16, "sft_test": 8, "pref_train": 24, "pref_test": 8, "heldout": 8}
NAMES = [
    "apple",
    "brick",
    "candle",
    "desert",
    "engine",
    "forest",
    "garden",
    "harbor",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "mirror",
    "needle",
    "orchid",
    "pillow",
]
PLACES = [
    "attic",
    "barn",
    "cellar",
    "dock",
    "field",
    "garage",
    "hall",
    "lobby",
    "market",
    "office",
    "park",
    "quarry",
    "rooftop",
    "school",
    "tunnel",
    "yard",
]
ROUNDS = 2
N_HUMAN = 16


def _phrase(i: int, lead: str) -> str:
    return f"{lead} {NAMES[i % 16]} {PLACES[(i // 16 + i) % 16]} {NAMES[(i * 7 + 3) % 16]} {i}"


def _written(model: str = "m1", tokens: int = 20) -> dict[str, object]:
    return {
        "model": model,
        "sampling": "s1",
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": tokens,
        "error": None,
    }


def tables() -> Tables:
    """All artifacts, each of its declared schema and sorted by its key."""
    made: Tables = {}
    prompts = []
    i = 0
    for split, size in SIZES.items():
        for _ in range(size):
            said = f"{_phrase(i, 'Tell me about the')}, please?"
            dialogue = (Turn("user", said),)
            if i % 4 == 0:
                dialogue = (Turn("user", f"Hello number {i}"), Turn("assistant", f"Hi number {i}."), Turn("user", said))
            prompts.append(
                {
                    "prompt_id": prompt_id(dialogue),
                    "split": split,
                    "cluster_id": f"c{i:03d}",
                    "source": "test",
                    "prompt": said,
                    "turns": structs(dialogue),
                    "n_turns": len(dialogue),
                }
            )
            i += 1
    prompts.sort(key=lambda row: str(row["prompt_id"]))
    made["prompts"] = PROMPTS.frame(prompts)
    made["instructions"] = INSTRUCTIONS.frame(
        [
            {
                "instruction_id": f"i{n:03d}",
                "split": "test" if n % 4 == 0 else "train",
                "prompt": _phrase(n, "Describe one"),
                "turns": structs((Turn("user", _phrase(n, "Describe one")),)),
                "response": f"It is a {_phrase(n, 'very fine')}.",
            }
            for n in range(24)
        ]
    )
    made["evaluation_prompts"] = EVALUATION_PROMPTS.frame(
        [
            {
                "prompt_id": f"e{n:03d}",
                "set": "mtbench" if n < 12 else "harmbench",
                "item_id": str(n),
                "category": "writing",
                "temperature": 0.7,
                "turns_text": [_phrase(n, "Compose for an evaluation")]
                + ([_phrase(n, "Now shorten it")] if n < 12 else []),
                "reference": ["A reference"] if n % 3 == 0 else None,
            }
            for n in range(24)
        ]
    )
    supervised = [row for row in prompts if str(row["split"]).startswith("sft_")]
    shared = ("prompt_id", "split", "prompt", "turns")
    responses = [
        {**{key: row[key] for key in shared}, "response": f"First {row['prompt']}. Here is draft {n}.", **_written()}
        for n, row in enumerate(supervised)
    ]
    made["responses"] = RESPONSES.frame(responses)
    critiques, revisions = [], []
    for n, row in enumerate(responses):
        text = row["response"]
        for round_ in range(1, ROUNDS + 1):
            critique = f"The draft {n} of round {round_} sounds harsh about {NAMES[n % 16]}."
            revision = (
                f"Gladly, {_phrase(n, 'consider')} in round {round_}. {_phrase(n, 'Wishing you well with')} {round_}."
            )
            head = {"prompt_id": row["prompt_id"], "round": round_, "principle_id": f"p{(n + round_) % 4}"}
            critiques.append({**head, "critique": critique, **_written()})
            revisions.append(
                {
                    **{key: row[key] for key in shared},
                    **head,
                    "response": text,
                    "critique": critique,
                    "revision": revision,
                    **_written(),
                }
            )
            text = revision
    made["critiques"] = CRITIQUES.frame(critiques)
    # The third revision carries a tail that cleaning edits away, the fifth is dropped.
    for_edit, for_drop = revisions[2], revisions[4]
    tail = " Bye now. Bye now."
    kept_text = for_edit["revision"]
    after = next(
        (
            later
            for later in revisions
            if later["prompt_id"] == for_edit["prompt_id"] and later["round"] == for_edit["round"] + 1
        ),
        None,
    )
    for_edit["revision"] = f"{kept_text}{tail}"
    if after is not None:
        after["response"] = for_edit["revision"]
    made["revisions"] = REVISIONS.frame(revisions)
    made["cleaned"] = CLEANED.frame(
        [
            {**row, "cut": False, "revision": kept_text if row is for_edit else row["revision"]}
            for row in revisions
            if row is not for_drop
        ]
    )
    made["dropped"] = DROPPED.frame(
        [
            {
                "prompt_id": for_drop["prompt_id"],
                "round": for_drop["round"],
                "reason": "meta talk",
                "rule": "meta",
                "revision": for_drop["revision"],
            }
        ]
    )
    made["edits"] = EDITS.frame(
        [
            {
                "prompt_id": for_edit["prompt_id"],
                "round": for_edit["round"],
                "step": step,
                "rule": ("repeated_sentence", "editor")[step],
                "start": len(kept_text),
                "end": len(kept_text) + 9,
                "removed": " Bye now.",
                "inserted": "",
            }
            for step in range(2)
        ]
    )
    named = [(row["prompt_id"], row["round"]) for row in revisions if row is not for_edit and row is not for_drop]
    settled = [*[("nothing_to_delete", None)] * 30, ("rejected", "over_budget"), ("not_asked", None)]
    asked = [((for_edit["prompt_id"], for_edit["round"]), ("edited", None)), *zip(named, settled, strict=False)]
    asked.append(((for_drop["prompt_id"], for_drop["round"]), ("dropped", "near_empty")))
    made["asked"] = ASKED.frame(
        [
            {
                "prompt_id": name,
                "round": round_,
                "status": status,
                "reason": reason,
                "tries": 0 if status == "not_asked" else 1,
                "answers": 0.8,
            }
            for (name, round_), (status, reason) in asked
        ]
    ).sort(ASKED.key)
    compared = [row for row in prompts if str(row["split"]).startswith("pref_")]
    samples, verdicts, preferences, excluded = [], [], [], []
    for n, row in enumerate(compared):
        texts = [f"Take {draw} of {_phrase(n, 'my view on')}{' indeed' * ((n + draw) % 2)}." for draw in (0, 1)]
        samples += [
            {**{key: row[key] for key in shared}, "draw": draw, "response": texts[draw], **_written()}
            for draw in (0, 1)
        ]
        tie = n % 16 == 7
        p_first, p_second = (0.52, 0.48) if tie else ((0.7, 0.8) if n % 4 < 2 else (0.3, 0.2))
        p = (p_first + p_second) / 2
        verdicts.append(
            {
                "prompt_id": row["prompt_id"],
                "principle_id": f"p{n % 4}",
                "n_principles": 1,
                **dict.fromkeys(("second_p", "second_status", "second_judge")),
                "response_a": texts[0],
                "response_b": texts[1],
                "p_first": p_first,
                "p_second": p_second,
                "p": p,
                "flip": tie,
                "label_mass_first": 0.9,
                "label_mass_second": 0.95,
                "status": "tie" if tie else "ok",
                "reason": "within the tie margin" if tie else None,
                "judge": "j1",
            }
        )
        if tie:
            excluded.append({"prompt_id": row["prompt_id"], "reason": "tie"})
            continue
        a_wins = p > 0.5
        preferences.append(
            {
                "prompt_id": row["prompt_id"],
                "split": str(row["split"]).removeprefix("pref_"),
                "prompt": row["prompt"],
                "turns": row["turns"],
                "chosen": texts[0] if a_wins else texts[1],
                "rejected": texts[1] if a_wins else texts[0],
                "p_chosen": max(p, 1 - p),
                "chosen_draw": 0 if a_wins else 1,
                "chosen_cut": False,
                "rejected_cut": False,
            }
        )
    made["samples"] = SAMPLES.frame(samples)
    made["verdicts"] = VERDICTS.frame(verdicts)
    made["preferences"] = PREFERENCES.frame(preferences)
    made["excluded"] = EXCLUDED.frame(excluded)
    made["human_pairs"] = HUMAN_PAIRS.frame(
        [
            {
                "pair_id": f"human/{n:03d}",
                "prompt": _phrase(n, "Help me choose a"),
                "turns": structs((Turn("user", _phrase(n, "Help me choose a")),)),
                "chosen": f"Take {_phrase(n, 'the nicer')}{' then' * (n % 2)}.",
                "rejected": f"Take {_phrase(n, 'the other')}{' then' * ((n + 1) % 2)}.",
            }
            for n in range(N_HUMAN)
        ]
    )
    answers = []
    for row in made["evaluation_prompts"].to_dicts():
        for turn, said in enumerate(row["turns_text"], start=1):
            answers.append(_answer(row["prompt_id"], turn, row["set"], row["category"], said, len(answers)))
    for row in prompts:
        if row["split"] == "heldout":
            answers.append(_answer(str(row["prompt_id"]), 1, "heldout", None, str(row["prompt"]), len(answers)))
    made["answers_base"] = ANSWERS.frame(
        sorted(answers, key=lambda row: (str(row["prompt_id"]), int(str(row["turn"]))))
    )
    return made


def _answer(name: str, turn: int, set_: str, category: str | None, said: str, n: int) -> dict[str, object]:
    return {
        "prompt_id": name,
        "turn": turn,
        "set": set_,
        "category": category,
        "prompt": said,
        "response": f"An answer with number {n} about {NAMES[n % 16]}.",
        "token_ids": [n, n + 1, n + 2],
        **_written(tokens=3),
    }


def judge_card(root: Path, *reasons: str) -> None:
    """Write the card of a judge that is valid for pairs unless there are reasons why not."""
    roles = {"pairs": Standing(not reasons, reasons, 0)}
    card = Card("j1", {}, not reasons, reasons, roles).as_dict()
    path = root / "metrics/judge_card.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"judge_valid": int(not reasons), "detail": [card]}), encoding="utf-8")


def write(root: Path, made: Tables) -> None:
    """Write the artifacts as they are, faults and all: `Table.write` would refuse most of them."""
    judge_card(root)
    kept = {"n_kept": N_HUMAN, "dropped": {"over_limit": 3}}
    (root / "metrics/pair.json").write_text(
        json.dumps({"n_pairs": 20, "detail": [{"helpful": kept}]}), encoding="utf-8"
    )
    for name, frame in made.items():
        path = root / TABLES[name].path
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)


def altered(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    """The frame with some cells of one row replaced."""
    rows = frame.to_dicts()
    rows[row] = {**rows[row], **values}
    return pl.DataFrame(rows, schema=frame.schema)


Fault = Callable[[Tables], Tables]

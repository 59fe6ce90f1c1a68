"""MT-Bench as FastChat 0e6d3e4 defines it, read from its own files; judged with what went wrong there repaired.

Kept: questions and temperatures (cai.sources.benchmarks reads them), templates, references for math, reasoning and
coding, the second turn on the model's own first answer. Repaired: last-match anchored parsing with a range check, 1 for
an empty answer, failures counted and bounded, paired intervals. ``show_result`` keeps the published arithmetic, so that
published tables can be compared.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.dialogue import Dialogue, Turn
from cai.errors import ArtifactError
from cai.llm.model import Model, Sampling
from cai.prompting.rating import MTBENCH_PREFIX
from cai.scoring.items import read_bytes
from cai.scoring.judges import TRUSTED, Judged, Judgment, Replies, Scale, Standing, rate, scores
from cai.scoring.statistics import Measure

SCALE = Scale(1, 10, "Rating", MTBENCH_PREFIX, brackets=True)
QUESTIONS = frozenset(str(number) for number in range(81, 161))
"""FastChat's ids of the 80 questions."""
NEED_REFERENCE = frozenset({"math", "reasoning", "coding"})
_TEMPLATES = ("single-v1", "single-math-v1", "single-v1-multi-turn", "single-math-v1-multi-turn")


def read_templates(path: Path) -> Mapping[str, Mapping[str, str]]:
    """The judge's templates out of FastChat's judge_prompts.jsonl, by name.

    Raises:
        ArtifactError: the file is missing or broken, or lacks a template.
    """
    prompts, _ = _json_lines(path, ("name", "system_prompt", "prompt_template"))
    templates = {row["name"]: row for row in prompts if row["name"] in _TEMPLATES}
    lacking = sorted(set(_TEMPLATES) - set(templates))
    if lacking:
        raise ArtifactError(str(path), "lacks templates", got=", ".join(lacking))
    return templates


def _json_lines(path: Path, keys: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    text, sha = read_bytes(path, "JSON lines")
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ArtifactError(f"{path}:{number}", "is not JSON", got=error.msg) from None
        missing = [key for key in keys if not isinstance(row, dict) or key not in row]
        if missing:
            raise ArtifactError(f"{path}:{number}", "lacks keys", got=", ".join(missing), expected=", ".join(keys))
        rows.append(row)
    return rows, sha


def judge_dialogue(
    templates: Mapping[str, Mapping[str, str]],
    category: str,
    turns: Sequence[str],
    answers: Sequence[str],
    reference: Sequence[str] | None,
    turn: int,
) -> Dialogue:
    """What FastChat asks the judge about one turn: system and user message, from its own templates, filled as it
    fills them."""
    needs = category in NEED_REFERENCE
    name = ("single-math-v1" if needs else "single-v1") + ("-multi-turn" if turn == 2 else "")
    filled: dict[str, str] = {}
    if needs:
        if reference is None:
            raise ValueError(f"category {category} is judged with a reference")
        filled = {"ref_answer_1": reference[0], "ref_answer_2": reference[1]}
    if turn == 1:
        filled |= {"question": turns[0], "answer": answers[0]}
    else:
        filled |= {"question_1": turns[0], "question_2": turns[1], "answer_1": answers[0], "answer_2": answers[1]}
    template = templates[name]
    return (Turn("system", template["system_prompt"]), Turn("user", template["prompt_template"].format(**filled)))


def judge(
    rows: Iterable[Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, str]],
    model: Model,
    sampling: Sampling,
    *,
    replies: Replies = "text",
    standing: Standing = TRUSTED,
    retries: int = 1,
) -> list[Judgment]:
    """One judgment a question and turn, sorted by both.

    Args:
        rows: {prompt_id, category, turns_text, reference, turn, response} a turn; both turns of a question must be
        there.
        templates: what ``read_templates`` returns.
        model: the judge.
        sampling: temperature 0 and 2,048 new tokens in FastChat.
        replies: see ``judges.rate``.
        standing: see ``judges.rate``.
        retries: see ``judges.rate``.
    """
    by_prompt: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for row in rows:
        if row["turn"] in by_prompt[row["prompt_id"]]:
            raise ValueError(f"{row['prompt_id']} has two answers to turn {row['turn']}")
        by_prompt[row["prompt_id"]][row["turn"]] = row
    judged = []
    for name in sorted(by_prompt):
        both = by_prompt[name]
        for turn in sorted(both):
            row = both[turn]
            said = [both[i]["response"] if i in both else None for i in range(1, turn + 1)]
            answer = None if None in said else said[-1]
            texts = [text or "" for text in said]
            asked = judge_dialogue(templates, row["category"], row["turns_text"], texts, row["reference"], turn)
            judged.append(Judged(name, turn, answer, asked))
    return rate(judged, model, SCALE, sampling, kind="mtbench", replies=replies, standing=standing, retries=retries)


def measures(judgments: Sequence[Judgment], standing: Standing = TRUSTED, *, seed: int = 0) -> dict[str, Measure]:
    """turn_1, turn_2 and mean (of both turns within a question), expected ratings, bounds, and FastChat's own
    arithmetic.

    Bounds fill failed and missing judgments with 1 and with 10. ``legacy_mean`` is over all remaining judgments, as
    show_result has it, which is not the mean of the turns when judgments are missing.
    """
    result: dict[str, Measure] = {}
    for label, part in _turns(judgments).items():
        result[label] = scores(part, standing, unit="rating 1-10", seed=seed)
        # Bounds fill in what failed; what was rated stays.
        every = judgments if label == "mean" else part
        result[f"{label}_if_failed_1"] = scores(every, standing, unit="rating 1-10", failed_as=1.0, seed=seed)
        result[f"{label}_if_failed_10"] = scores(every, standing, unit="rating 1-10", failed_as=10.0, seed=seed)
        if any(one.expected is not None and one.status != "empty" for one in part):
            result[f"{label}_expected"] = scores(part, standing, unit="rating 1-10", value="expected", seed=seed)
    rows = [{"model": "it", "turn": one.turn, "score": -1 if one.score is None else one.score} for one in judgments]
    legacy = show_result(rows).get("it", {})
    for label in ("turn_1", "turn_2", "mean"):
        value = legacy.get(label)
        n = int(legacy.get(f"n_{label}") or 0)
        if not standing.valid:
            result[f"legacy_{label}"] = Measure.missing(standing.not_measured(), unit="rating 1-10")
        elif value is None:
            result[f"legacy_{label}"] = Measure.missing("no judgment", unit="rating 1-10")
        else:
            lost = sum(label == "mean" or f"turn_{one.turn}" == label for one in judgments) - n
            result[f"legacy_{label}"] = Measure(value, n, lost, unit="rating 1-10", method="FastChat show_result")
    return result


def _turns(judgments: Sequence[Judgment]) -> dict[str, list[Judgment]]:
    return {
        "turn_1": [one for one in judgments if one.turn == 1],
        "turn_2": [one for one in judgments if one.turn == 2],
        "mean": _complete(judgments),
    }


def _complete(judgments: Sequence[Judgment]) -> list[Judgment]:
    """All judgments; a question of which one turn has no rating loses the other too, or its mean would mix turns
    unequally."""
    lost = {one.prompt_id for one in judgments if one.score is None}
    return [
        Judgment(one.prompt_id, one.turn, None, one.status, one.reason, one.expected) if one.prompt_id in lost else one
        for one in judgments
    ]


# --- FastChat's own numbers -------------------------------------------------------------------------------------------


def legacy_rating(reply: str) -> float:
    """What FastChat's parser reads: the first [[n]], else the first [n], else -1. For comparison only.

    >>> legacy_rating("e.g. [[5]]. Final rating: [[9]]"), legacy_rating("[[85]]"), legacy_rating("no idea")
    (5.0, 85.0, -1.0)
    """
    match = re.search(r"\[\[(\d+\.?\d*)\]\]", reply) or re.search(r"\[(\d+\.?\d*)\]", reply)
    return float(match.group(1)) if match else -1.0


def show_result(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """{model: {turn_1, turn_2, mean, n_turn_1, n_turn_2, n_mean}} as FastChat's show_result counts: -1 dropped, the
    rest averaged.

    >>> rows = [{"model": "m", "turn": turn, "score": score} for turn, score in ((1, 8), (2, 2), (2, -1))]
    >>> show_result(rows)["m"]["mean"]
    5.0
    """
    kept: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["score"] != -1:
            kept[str(row["model"])][int(row["turn"])].append(float(row["score"]))
    result: dict[str, dict[str, float]] = {}
    for model, turns in sorted(kept.items()):
        found: dict[str, float] = {}
        for turn in (1, 2):
            if turns.get(turn):
                found[f"turn_{turn}"] = sum(turns[turn]) / len(turns[turn])
                found[f"n_turn_{turn}"] = len(turns[turn])
        everything = [value for values in turns.values() for value in values]
        found |= {"mean": sum(everything) / len(everything), "n_mean": len(everything)}
        result[model] = found
    return result


NAMED = 5
"""Rows of a fault that are named; all of them are counted."""


@dataclass(frozen=True)
class Imported:
    """A FastChat judgment file: one judgment a (model, question, turn), what was wrong in it, and FastChat's own
    numbers. ``named``: for each fault the first rows that have it, as "model/question/turn"."""

    judgments: Mapping[str, tuple[Judgment, ...]]
    legacy: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    sha256: str
    named: Mapping[str, tuple[str, ...]]


def import_judgments(path: Path, questions: Iterable[str] | None = None) -> Imported:
    """The judgments of a FastChat single-answer file, and the numbers that show_result prints for that very file.

    Left out of ours and counted: unknown_question, out_of_range (not -1 and not 1..10), duplicate (an earlier row of
    the same
    model, question and turn; a row with a rating beats one without). ``failed`` counts -1. ``legacy`` is over the
    file as it is. ``missing`` are questions and turns without a row that can be used; in ours they stand without a
    rating, so that no mean mixes the turns unequally and the bounds cover them.

    Raises:
        ArtifactError: not JSON lines with question_id, model, turn, score.
    """
    rows, sha = _json_lines(path, ("question_id", "model", "turn", "score"))
    known = None if questions is None else set(questions)
    found: Counter[str] = Counter(n_rows=len(rows))
    named: dict[str, list[str]] = defaultdict(list)

    def seen(fault: str, row: Mapping[str, Any]) -> None:
        found[fault] += 1
        if len(named[fault]) < NAMED:
            named[fault].append(f"{row['model']}/{row['question_id']}/{row['turn']}")

    kept: dict[tuple[str, str, int], Judgment] = {}
    for number, row in enumerate(rows, start=1):
        score, turn, name = row["score"], row["turn"], str(row["question_id"])
        if isinstance(score, bool) or not isinstance(score, int | float) or turn not in (1, 2):
            raise ArtifactError(
                f"{path}: row {number}", "broken judgment", got=f"turn {turn}", expected="turn 1 or 2, a score"
            )
        if known is not None and name not in known:
            seen("unknown_question", row)
            continue
        if score == -1:
            seen("failed", row)
            one = Judgment(name, turn, None, "parse_fail", "-1 in the file")
        elif 1 <= score <= 10:
            judge_name = row.get("judge")
            one = Judgment(
                name, turn, float(score), "ok", judge=str(judge_name[0]) if isinstance(judge_name, list) else None
            )
        else:
            seen("out_of_range", row)
            continue
        key = (str(row["model"]), name, turn)
        if key in kept:
            seen("duplicate", row)
            if one.score is None:
                continue
        kept[key] = one
    by_model: dict[str, list[Judgment]] = defaultdict(list)
    for model in sorted({key[0] for key in kept}):
        asked = known or {key[1] for key in kept if key[0] == model}
        for name in sorted(asked):
            for turn in (1, 2):
                if (model, name, turn) not in kept:
                    seen("missing", {"model": model, "question_id": name, "turn": turn})
                absent = Judgment(name, turn, None, "missing", "not in the file")
                by_model[model].append(kept.get((model, name, turn), absent))
    return Imported({m: tuple(js) for m, js in by_model.items()}, show_result(rows), dict(found), sha, _frozen(named))


def _frozen(named: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {fault: tuple(rows) for fault, rows in sorted(named.items())}

"""CPU seconds of scoring 4 models x 700 prompts without judge calls; the project's target is at most 60 on two cores.

    python benchmarks/score.py [PROMPTS=700]

Answers of about 250 words are put together from tests/text/data, one in three with a degenerate tail. Token ids are
those of the words, so that every fixed horizon is cut and measured, as in a run with a large budget.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from pathlib import Path

import polars as pl

from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.llm.model import Sampling
from cai.method.answer import MODELS
from cai.scoring.judges import Standing, Unasked
from cai.scoring.outcomes import compare, score, to_csv

SETS = {"mtbench": 80, "harmbench": 200, "xstest_safe": 250}
WORDS, BUDGET = 250, 512
TEMPLATES = {
    "single-v1": {"system_prompt": "", "prompt_template": "{question} {answer}"},
    "single-v1-multi-turn": {"system_prompt": "", "prompt_template": "{question_1} {answer_1} {question_2} {answer_2}"},
}
TAIL = " Please let me know if you have any other {}! :) Have a great day! :)"


def cpu_seconds() -> float:
    """CPU seconds of this process."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def texts(n: int, draw: random.Random) -> list[str]:
    """n answers of about WORDS words, every third with a tail of closings."""
    data = Path(__file__).parents[1] / "tests" / "text" / "data" / "legitimate.jsonl"
    read = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    pool = sorted({row["text"] for row in read if row["language"] == "en"})
    made = []
    for place in range(n):
        said = ""
        while len(said.split()) < WORDS:
            said += draw.choice(pool) + "\n\n"
        if place % 3 == 0:
            said += "".join(TAIL.format(draw.choice(("questions", "inquiries"))) for _ in range(6))
        made.append(said)
    return made


def main() -> None:
    n_prompts = int(sys.argv[1]) if len(sys.argv) > 1 else 700
    draw = random.Random(0)
    share = n_prompts / 700
    questions = EVALUATION_PROMPTS.frame(
        [
            {
                "prompt_id": f"{name}-{place:04d}",
                "set": name,
                "item_id": str(place),
                "category": "writing",
                "temperature": None,
                "turns_text": ["Why?"] * (2 if name == "mtbench" else 1),
                "reference": None,
            }
            for name, size in SETS.items()
            for place in range(round(size * share))
        ]
    )
    asked = [
        (row["prompt_id"], row["set"], turn)
        for row in questions.to_dicts()
        for turn in range(1, len(row["turns_text"]) + 1)
    ]
    asked += [(f"heldout-{place:04d}", "heldout", 1) for place in range(n_prompts - questions.height)]
    vocabulary: dict[str, int] = {}
    answers: list[pl.DataFrame] = []
    for _ in MODELS:
        rows = []
        for (name, group, turn), text in zip(asked, texts(len(asked), draw), strict=True):
            ids = [vocabulary.setdefault(word, len(vocabulary)) for word in text.split(" ")]
            rows.append(
                {
                    "prompt_id": name,
                    "turn": turn,
                    "set": group,
                    "category": None,
                    "prompt": "Why?",
                    "response": text,
                    "token_ids": ids,
                    "model": "m",
                    "sampling": "0" * 16,
                    "finish_reason": "length" if len(ids) >= WORDS else "stop",
                    "prompt_tokens": 9,
                    "completion_tokens": len(ids),
                    "error": None,
                }
            )
        answers.append(ANSWERS.frame(rows))
    words = list(vocabulary)
    before, started = cpu_seconds(), time.perf_counter()
    scored = [
        score(
            frame,
            questions,
            judge=Unasked("nobody"),
            sampling=Sampling(0.0, 1.0, 0, 16, 0),
            standings=dict.fromkeys(("rating", "harm", "refusal"), Standing(False, ("nobody is asked",))),
            templates=TEMPLATES,
            budget_tokens=BUDGET,
            decode=lambda ids: " ".join(words[one] for one in ids),
        )
        for frame in answers
    ]
    used, wall = cpu_seconds() - before, time.perf_counter() - started
    n_bytes = sum(len(to_csv(one.outcomes)) for one in scored)
    before = cpu_seconds()
    compare(scored[0].outcomes, scored[-1].outcomes)
    print(
        f"{len(MODELS)} models x {n_prompts} prompts ({len(asked)} answers each): {used:.1f} CPU seconds"
        f" ({wall:.1f} s), outcomes {n_bytes / 1e3:.0f} kB; one comparison {cpu_seconds() - before:.1f} CPU seconds,"
        f" peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
    )


if __name__ == "__main__":
    main()

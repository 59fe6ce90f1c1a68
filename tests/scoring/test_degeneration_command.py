"""`cai degeneration FILE`: the keys that issue and README name, and the definitions worked out by hand on one file."""

import json
import re
from collections import Counter

import pytest
from typer.testing import CliRunner

from cai.cli import app

KEYS = [
    "n", "degenerate_share", "repeated_sentence_share", "meta_talk_share", "tail_dup_share", "rep4_share", "tail_loop_share",
    "emoji_tail_share", "closing_share", "empty_share", "mean_words", "eos_fail_share",
]  # fmt: skip
HEALTHY = (
    "Wash the wound with clean water first. Then press a dry cloth on it for ten minutes. See a doctor if it stays red.",
    "The library opens at nine on weekdays. You need a card with your name on it. Ask at the desk for help.",
    "Paris lies on the Seine. It has about two million people. Many of them take the underground to work.",
)
NEAR = "Take care of yourself and come back soon. "
TEXTS = [
    *HEALTHY,
    HEALTHY[0] + " " + NEAR * 2,  # two of the last five sentences are one: .2 is below .25
    HEALTHY[1] + " " + NEAR * 3,  # .33
    "They said it was " + "so " * 40,  # a loop without a sentence's end
    "Be kind to the people you meet. " * 6,  # everything repeats
    HEALTHY[2] + " Bye :) Bye :) Bye :)",
    "The assistant's last response is harmful because it mocks people.",
    "",
]


def definitions(texts: list[str]) -> dict[str, float]:
    """The definitions for plain English, spelled out with nothing of the module under test."""
    flags: Counter[str] = Counter()
    closings: Counter[str] = Counter()
    for text in texts:
        spoken = [re.findall(r"[\w']+", part.lower()) for part in re.split(r"(?<=[.!?])\s+|(?<=:\))\s+", text)]
        spoken = [one for one in spoken if one]
        said = [" ".join(one) for one in spoken]
        tail = [" ".join(one) for one in spoken if len(one) >= 3][-8:]
        words = text.split()
        grams = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
        loop = max(
            (
                length
                for period in range(1, 81)
                for length in range(3 * period, len(words) + 1)
                if words[-length:][period:] == words[-length:-period]
            ),
            default=0,
        )
        found = {
            "tail_dup": bool(tail) and 1 - len(set(tail)) / len(tail) >= 0.25,
            "rep4": bool(grams) and 1 - len(set(grams)) / len(grams) > 0.5,
            "tail_loop": bool(words) and loop / len(words) > 0.2,
            "emoji_tail": text[-200:].count(":)") >= 3,
        }
        found["degenerate"] = any(found.values())
        found["repeated_sentence"] = max(Counter(said).values(), default=0) >= 3
        found["empty"] = not words
        flags.update(name for name, holds in found.items() if holds)
        closings.update(said[-1:])
    n = len(texts)
    names = ("degenerate", "repeated_sentence", "tail_dup", "rep4", "tail_loop", "emoji_tail", "empty")
    shares = {f"{name}_share": flags[name] / n for name in names}
    return shares | {
        "closing_share": closings.most_common(1)[0][1] / n,
        "mean_words": sum(len(t.split()) for t in texts) / n,
    }


def printed(path, *options: str) -> tuple[dict, str]:
    done = CliRunner().invoke(app, ["degeneration", str(path), *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_the_command_prints_what_the_definitions_give(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    found, told = printed(file)
    assert list(found) == KEYS
    assert found["n"] == len(TEXTS)
    expected = definitions(TEXTS)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert 0 < expected["tail_dup_share"] < expected["degenerate_share"] < 1
    assert found["meta_talk_share"] == pytest.approx(1 / len(TEXTS))
    assert found["eos_fail_share"] is None
    assert told == ""


def test_how_rows_ended_is_read_and_missing_texts_are_told_beside_the_json(tmp_path):
    file = tmp_path / "answers.jsonl"
    rows = [
        {"answer": HEALTHY[0], "finish_reason": "length"},
        {"answer": HEALTHY[1], "finish_reason": "stop"},
        {"answer": None, "finish_reason": "error"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, told = printed(file, "--text-key", "answer")
    assert (found["n"], found["eos_fail_share"], found["degenerate_share"]) == (2, 0.5, 0.0)
    assert told == "1 of 3 rows have null instead of a text\n"
    assert CliRunner().invoke(app, ["degeneration", str(file)]).exit_code == 1

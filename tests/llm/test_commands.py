"""`cai cache`, `cai mtbench` and `cai judge-card`, as typed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.dialogue import Dialogue
from cai.llm.cache import CompletionStore
from cai.llm.model import Completion, Request
from cai.llm.scripted import ScriptedModel
from cai.recipes.apply import apply

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompletionStore:
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    store = CompletionStore(tmp_path / ".work/completions")
    store.put("aa01", {"model": "small", "text": "one"})
    store.put("ab02", {"model": "small", "text": "two"})
    store.put("cc03", {"model": "large", "text": "three"})
    return store


def typed(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_kept_completions_are_counted_exported_and_removed(store: CompletionStore, tmp_path: Path) -> None:
    assert json.loads(typed("cache", "stats"))["by_model"] == {"large": 1, "small": 2}
    typed("cache", "export", "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["key"], row["text"]) for row in rows] == [("aa01", "one"), ("ab02", "two"), ("cc03", "three")]
    assert typed("cache", "prune", "--older-than-days", "1") == "0 completions removed\n"
    assert typed("cache", "prune", "--model", "small") == "2 completions removed\n"
    assert store.get("aa01") is None
    assert store.get("cc03") is not None


def test_a_fastchat_file_gives_fastchats_numbers_and_what_is_wrong_in_it(tmp_path: Path) -> None:
    rows = [(81, 1, 8), (81, 2, 3), (82, 1, -1), (83, 1, 11)]
    content = [{"question_id": q, "model": "m", "turn": t, "score": s, "judge": ["j", "single-v1"]} for q, t, s in rows]
    file = tmp_path / "j_single.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in content))
    said = typed("mtbench", str(file))
    assert "9.50 (n = 2)" in said  # show_result drops -1 alone
    assert "3.00 (n = 1)" in said
    assert "failed 1" in said
    assert "out_of_range 1" in said


def always_a(dialogue: Dialogue, options: object, prefix: str) -> tuple[float, float]:
    return (0.7, 0.1)


def knows(dialogue: Dialogue, options: object, prefix: str) -> tuple[float, float]:
    """Believes the answer that our pairs, or the written file, name as the good one."""
    good = {json.loads(line)["good"] for line in (ROOT / "data/sample/judge_pairs.jsonl").read_text().splitlines()}
    first = dialogue[-1].text.split("\n(A)\n=====\n")[1].split("\n=====")[0]
    return (0.9, 0.1) if first in good or first == "a good reply" else (0.1, 0.9)


@pytest.mark.parametrize(("judge", "valid"), [("always_a", False), ("knows", True)])
def test_the_judges_card_is_printed_for_the_shipped_pairs_and_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judge: str, valid: bool
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").touch()
    shutil.copytree(ROOT / "data" / "sample", tmp_path / "data" / "sample")
    values = ["judge.backend=scripted", f"judge.model={__name__}:{judge}_judge"]
    apply("smollm2", tmp_path / "params.yaml", values)
    monkeypatch.chdir(tmp_path)
    row = {f"{which}": f"\n\nHuman: hi\n\nAssistant: a {word} reply" for which, word in
           (("chosen", "good"), ("rejected", "bad"))}  # fmt: skip
    (tmp_path / "hh.jsonl").write_text((json.dumps(row) + "\n") * 3)
    done = CliRunner().invoke(app, ["judge-card", "--hh", "hh.jsonl", "--human", "0"])
    assert done.exit_code == (0 if valid else 1), done.output
    assert "63" in next(line for line in done.output.splitlines() if " accuracy " in line)
    assert ("pairs: valid" in done.output) == valid
    assert "harm: not valid" in done.output  # no human-labelled rows were asked for
    assert not (tmp_path / "metrics").exists()


always_a_judge, knows_judge = ScriptedModel((), always_a), ScriptedModel((), knows)


def speaker(name: str) -> ScriptedModel:
    """Says what it was asked and how many turns it has heard; fails on one word."""

    def reply(request: Request) -> str | Completion:
        if request.dialogue[-1].text == "fail":
            return Completion.failed("scripted to fail")
        return f"{name} [bold]heard[/bold] {len(request.dialogue)}: {request.dialogue[-1].text}"

    return ScriptedModel(reply, name=name)


sft_speaker, dpo_speaker = speaker("sft"), speaker("dpo")


def test_chat_keeps_a_conversation_with_each_model_and_forgets_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    apply(
        "smollm2", tmp_path / "params.yaml", ["answer.backend=scripted", f"answer.model={__name__}:{{model}}_speaker"]
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["chat", "sft", "dpo"], input="one\nfail\ntwo\n/new\nthree\n")
    assert done.exit_code == 0, done.output
    said = re.findall(r"(sft|dpo) \[bold\]heard\[/bold\] (\d): (\w+)", done.output)
    assert said == [(m, n, w) for n, w in (("1", "one"), ("3", "two"), ("1", "three")) for m in ("sft", "dpo")]
    assert done.output.count("no reply: scripted to fail") == 2


def test_chat_says_which_checkpoint_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["chat"], input="hi\n")
    assert done.exit_code == 1
    assert "error: " in done.output and "instruct" in done.output and "dvc repro" in done.output

"""`cai cache` and `cai mtbench`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.llm.cache import CompletionStore


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

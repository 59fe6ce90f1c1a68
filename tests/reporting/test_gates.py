"""A failed gate marks every model that was trained downstream of it, and no other."""

import pytest

from cai.reporting.gates import Gate, gates, marked_artifacts, marks
from cai.reporting.inputs import Inputs
from tests.reporting.small_root import make


def failed(name: str) -> Gate:
    return Gate(name, 2, 1, 0, 0, 10, ())


@pytest.mark.parametrize(
    ("artifact", "models"),
    [
        ("instructions", {"instruct", "sft", "dpo"}),
        ("prompts", {"sft", "dpo"}),
        ("cleaned", {"sft", "dpo"}),
        ("verdicts", {"dpo"}),
        ("preferences", {"dpo"}),
        ("answers_dpo", set()),
        ("evaluation_prompts", set()),
    ],
)
def test_models_downstream_of_a_failed_gate_are_marked(artifact, models):
    found = marks([failed(artifact)])
    assert set(found) == models
    assert all(words == f"trained on data that failed gate {artifact}" for words in found.values())
    assert marked_artifacts([failed(artifact)]) == ([] if models else [artifact])


def test_gates_are_read_in_the_order_of_the_flow(tmp_path):
    found = gates(Inputs(make(tmp_path, failed_gate="cleaned")))
    names = [gate.artifact for gate in found]
    assert names.index("prompts") < names.index("revisions") < names.index("cleaned") < names.index("answers_dpo")
    bad = found[names.index("cleaned")]
    assert (bad.word, bad.n_failed, bad.n_rows) == ("failed", 1, 24)
    assert bad.entries[0]["worst_ids"] == ["00aa/1"]
    assert {gate.word for gate in found} == {"failed", "passed"}

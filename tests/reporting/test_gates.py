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
    assert (bad.word, bad.n_failed, bad.n_rows) == ("failed", 1, 22)  # of the table, whatever others count
    assert bad.entries[0]["worst_ids"] == ["00aa/1"]
    assert {gate.word for gate in found} == {"failed", "passed"}


def test_the_terminal_prints_the_table_of_the_report(tmp_path):
    """Cell by cell: `cai gates` and the report's first page say the same of every gate."""
    import html
    import re

    from cai.reporting.report import build
    from cai.reporting.table import gates_table

    root = make(tmp_path, failed_gate="cleaned")
    part = re.search(r'<section id="gates".*?</section>', build(root), re.S)[0]
    page = [
        [
            " ".join(html.unescape(re.sub(r"<[^>]+>", "", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row)
        ]
        for row in re.findall(r"<tr>.*?</tr>", part, re.S)
    ]
    table = gates_table(root)
    columns = [[" ".join(str(cell).split()) for cell in column.cells] for column in table.columns]
    printed = [[str(column.header) for column in table.columns], *map(list, zip(*columns, strict=True))]
    assert [[row[0].replace("_", " "), *row[1:]] for row in printed] == page

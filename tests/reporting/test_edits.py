"""Edits are replayed on the text, so that what the page marks is what cleaning did."""

import io

import polars as pl
import pytest
from rich.console import Console

from cai.artifacts.cleaned import EDITS
from cai.artifacts.supervised import REVISIONS
from cai.errors import ArtifactError, ParamsError
from cai.reporting.edits import CAP_TEXT, Piece, before_and_after, cleaning, replayed, shortened
from cai.reporting.inputs import Inputs
from cai.reporting.row import row_through_stages
from tests.reporting.small_root import make


def test_a_later_edit_counts_in_the_text_that_it_saw():
    text = "aaa bbb ccc ddd"
    edits = [
        {"start": 0, "end": 4, "inserted": "", "rule": "first"},
        {"start": 4, "end": 8, "inserted": "X", "rule": "second"},
    ]
    before, after = replayed(text, edits)
    assert [(p.text, p.kind, p.rule) for p in before] == [
        ("aaa ", "removed", "first"),
        ("bbb ", "kept", None),
        ("ccc ", "removed", "second"),
        ("ddd", "kept", None),
    ]
    assert "".join(p.text for p in after) == "bbb Xddd"
    assert "".join(p.text for p in before) == text


def test_replayed_edits_give_the_cleaned_text_of_every_row(tmp_path):
    from cai.artifacts.cleaned import CLEANED

    root = make(tmp_path)
    texts = {row["prompt_id"]: row["revision"] for row in CLEANED.read(root).to_dicts()}
    found = cleaning(Inputs(root))
    kept = [row for row in found.rows if row.dropped is None]
    assert len(kept) == found.n_edited > 0
    for row in kept:
        assert "".join(piece.text for piece in row.after) == texts[row.prompt_id]


def test_under_a_cap_every_rule_is_still_seen(tmp_path):
    found = cleaning(Inputs(make(tmp_path)), cap_rows=3)
    assert len(found.rows) == 3
    assert {rule for row in found.rows for rule in row.rules} == {"repeated_sentence", "mojibake", "meta_talk"}
    assert found.n_edited + found.n_dropped > 3


def test_a_long_text_is_cut_and_says_by_how_much():
    pieces = shortened((Piece("x" * CAP_TEXT, "kept"), Piece("y" * 10, "removed", "r")))
    assert pieces[-1].kind == "note"
    assert "10 more characters" in pieces[-1].text
    assert sum(len(p.text) for p in pieces[:-1]) == CAP_TEXT


def test_edits_are_counted_by_rule(tmp_path):
    found = cleaning(Inputs(make(tmp_path)))
    counts = {rule: (edits, edited, dropped) for rule, edits, edited, dropped in found.rules}
    assert counts["meta_talk"][0] == 0
    assert counts["meta_talk"][2] == found.n_dropped
    assert counts["repeated_sentence"][1] > 0


def test_in_a_terminal_what_was_removed_is_struck_through_and_one_rule_can_be_asked_for(tmp_path):
    root = make(tmp_path)
    console = Console(record=True, force_terminal=True, width=200, color_system="standard", file=io.StringIO())
    console.print(before_and_after(root, "mojibake"))
    printed = console.export_text(styles=True)
    assert "\x1b[9;31m" in printed and "mojibake" in printed and "before: " in printed
    with pytest.raises(ParamsError, match="touched no row"):
        before_and_after(root, "no such rule")
    with pytest.raises(ArtifactError, match="dvc repro clean"):
        before_and_after(tmp_path / "elsewhere")


def test_a_text_cannot_steer_the_terminal(tmp_path):
    root = make(tmp_path)
    rows = REVISIONS.read(root)
    first = EDITS.read(root)["prompt_id"][0]
    kept = pl.when(pl.col("prompt_id") == first).then(pl.col("revision") + "\x1b[2J\x9b1A\r\x00").otherwise("revision")
    REVISIONS.write(rows.with_columns(revision=kept), root)
    for shown in (before_and_after(root), row_through_stages(root, first)):
        console = Console(file=io.StringIO(), width=200)
        console.print(shown)
        printed = console.file.getvalue()
        assert "\u241b[2J\u241b1A\u240d\u2400" in printed
        assert not set(printed) & {"\x1b", "\x9b", "\r", "\x00"}

"""Edits are replayed on the text, so that what the page marks is what cleaning did."""

from cai.reporting.edits import CAP_TEXT, Piece, cleaning, replayed, shortened
from cai.reporting.inputs import Inputs
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

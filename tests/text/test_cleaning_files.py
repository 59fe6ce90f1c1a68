"""`cai clean`: the stage's function on files."""

import gzip
import io
import json
from pathlib import Path

import polars as pl
import pytest

from cai.artifacts.supervised import REVISIONS
from cai.cleaning.clean import Row, clean_row
from cai.cleaning.edits import Edit, apply
from cai.cleaning.files import clean_file
from cai.cleaning.frames import clean_frames
from cai.cleaning.plan import from_list
from cai.cleaning.rules import STANDARD
from cai.errors import ArtifactError, ParamsError

PLAN = from_list("rules", list(STANDARD))
ROWS = [
    {"prompt_id": "b", "revision": ("Take care of yourself, friend. " * 5).strip(), "n": 1},
    {"prompt_id": "a", "revision": "I can't help with that.", "n": 2},
    {"prompt_id": "c", "revision": "The assistant's response was harmful. The revised response is safe.", "n": 3},
]


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_order_and_other_keys_stay_and_everything_is_accounted_for(tmp_path: Path) -> None:
    source, target = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"  # type: ignore[arg-type]
    summary = clean_file(source, target, plan=PLAN, edits=tmp_path / "e.jsonl", dropped=tmp_path / "d.jsonl")
    assert _lines(target) == [{"prompt_id": "b", "revision": "Take care of yourself, friend.", "n": 1}, ROWS[1]]
    assert [(row["prompt_id"], row["reason"]) for row in _lines(tmp_path / "d.jsonl")] == [("c", "meta_talk")]
    edits = [Edit(*(edit[name] for name in Edit._fields)) for edit in _lines(tmp_path / "e.jsonl")]  # type: ignore[arg-type]
    assert apply(edits, str(ROWS[0]["revision"])) == "Take care of yourself, friend."
    assert (summary.n_rows, summary.n_kept, summary.n_edited, dict(summary.dropped)) == (3, 2, 1, {"meta_talk": 1})
    assert not list(tmp_path.glob(".*part"))


def test_parquet_and_jsonl_give_the_same_texts_as_the_row_function(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).write_parquet(tmp_path / "in.parquet")
    clean_file(tmp_path / "in.parquet", tmp_path / "out.parquet", plan=PLAN, workers=2)
    kept = [clean_row(Row("", str(row["revision"])), PLAN).text for row in ROWS]
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out["revision"].to_list() == [text for text in kept if text is not None]
    assert out.columns == ["prompt_id", "revision", "n"]


def test_standard_streams_are_jsonl(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    stream = io.TextIOWrapper(io.BytesIO(json.dumps(ROWS[1]).encode() + b"\n"))
    monkeypatch.setattr("sys.stdin", stream)
    clean_file("-", "-", plan=PLAN)
    assert json.loads(capfdbinary.readouterr().out) == ROWS[1]
    stream = io.TextIOWrapper(io.BytesIO((json.dumps(ROWS[1]).encode() + b"\n") * 3000 + b"{broken\n"))
    monkeypatch.setattr("sys.stdin", stream)
    with pytest.raises(ArtifactError, match="stdin:3001: no valid JSON"):
        clean_file("-", "-", plan=PLAN)
    assert capfdbinary.readouterr().out == b""  # all rows or none, whatever was done before the broken line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "a"}', "in.jsonl:2: no key revision"),
        ('{"revision": 3}', "in.jsonl:2: key revision holds no text"),
        ("{broken", "in.jsonl:2: no valid JSON"),
        ("[1]", "in.jsonl:2: a row is an object"),
        ('{"revision": null}', "in.jsonl:2: key revision holds no text; got NoneType"),
        ('{"revision": "a", "deep": ' + "[" * 100_000 + "]" * 100_000 + "}", "in.jsonl:2: JSON nested too deeply"),
        ("\xff\xfe", "in.jsonl:2: no valid JSON"),
    ],
)
def test_bad_input_names_file_line_and_key_and_writes_nothing(tmp_path: Path, line: str, said: str) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(ROWS[1]) + "\n" + line + "\n", encoding="latin-1")
    with pytest.raises(ArtifactError, match=said):
        clean_file(source, tmp_path / "out.jsonl", plan=PLAN, edits=tmp_path / "e.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    source = _write(tmp_path / "in.jsonl", ROWS)  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="same file"):
        clean_file(source, source, plan=PLAN)
    with pytest.raises(ParamsError, match="same file"):
        clean_file(source, tmp_path / "o.jsonl", plan=PLAN, edits=tmp_path / "o.jsonl")


def test_a_missing_file_and_a_broken_parquet_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        clean_file(tmp_path / "no.jsonl", tmp_path / "out.jsonl", plan=PLAN)
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="Parquet"):
        clean_file(tmp_path / "bad.parquet", tmp_path / "out.jsonl", plan=PLAN)


def test_gzipped_files_are_read_and_written_and_a_torn_one_leaves_nothing(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS * 400).encode()
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(lines))
    clean_file(tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl.gz", plan=PLAN, edits=tmp_path / "e.jsonl.gz")
    out = [json.loads(line) for line in gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).splitlines()]
    assert [row["prompt_id"] for row in out] == ["b", "a"] * 400
    first = (tmp_path / "out.jsonl.gz").read_bytes()
    clean_file(tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl.gz", plan=PLAN)
    assert (tmp_path / "out.jsonl.gz").read_bytes() == first
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(lines)[:-20])
    (tmp_path / "no.jsonl.gz").write_bytes(lines)
    for name in ("torn", "no"):
        with pytest.raises(ArtifactError, match=rf"{name}\.jsonl\.gz: cannot be read"):
            clean_file(tmp_path / f"{name}.jsonl.gz", tmp_path / f"{name}-out.jsonl", plan=PLAN)
        assert not list(tmp_path.glob(f"*{name}-out*"))


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_an_empty_file_gives_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    summary = clean_file(tmp_path / name, tmp_path / "out.jsonl", plan=PLAN, edits=tmp_path / "e.jsonl")
    assert summary.n_rows == 0 and not (tmp_path / "out.jsonl").read_bytes() and not (tmp_path / "e.jsonl").read_bytes()
    assert "0 rows" in str(summary.table().title)


def test_half_a_surrogate_pair_beside_the_text_is_kept_as_it_was(tmp_path: Path) -> None:
    row = {"revision": str(ROWS[0]["revision"]), "other": "\ud800"}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    clean_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", plan=PLAN)
    assert _lines(tmp_path / "out.jsonl")[0]["other"] == "\ud800"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = _write(tmp_path / "in.jsonl", ROWS)  # type: ignore[arg-type]
    for target in ("no/out.jsonl", "no/out.parquet"):
        with pytest.raises(ArtifactError, match="no folder"):
            clean_file(source, tmp_path / target, plan=PLAN)


def test_the_stage_and_the_command_give_equal_texts_edits_and_drops(tmp_path: Path) -> None:
    told = [row for row in ROWS for _ in range(3)]
    rows = [
        {
            "prompt_id": f"{at:016x}", "round": 1, "prompt": "Why?", "principle_id": "p", "response": "No, never do that at all.",
            "critique": "It is short.", "revision": str(row["revision"]) + " " * (at % 3), "finish_reason": "stop",
        }
        for at, row in enumerate(told)
    ]  # fmt: skip
    columns = {
        name: pl.lit(None, dtype=kind) for name, kind in REVISIONS.frame([]).schema.items() if name not in rows[0]
    }
    frames = clean_frames(pl.DataFrame(rows).with_columns(**columns), PLAN)
    source = _write(tmp_path / "in.jsonl", rows)  # type: ignore[arg-type]
    clean_file(
        source, tmp_path / "out.jsonl", plan=PLAN, edits=tmp_path / "e.jsonl", dropped=tmp_path / "d.jsonl", workers=2
    )
    assert [row["revision"] for row in _lines(tmp_path / "out.jsonl")] == frames.cleaned["revision"].to_list()
    named = ["prompt_id", "step", "rule", "start", "end", "removed", "inserted"]
    assert [tuple(edit[name] for name in named) for edit in _lines(tmp_path / "e.jsonl")] == frames.edits.sort(
        "prompt_id", "step"
    ).select(named).rows()
    assert [
        (row["prompt_id"], row["reason"], row["rule"]) for row in _lines(tmp_path / "d.jsonl")
    ] == frames.dropped.select("prompt_id", "reason", "rule").rows()

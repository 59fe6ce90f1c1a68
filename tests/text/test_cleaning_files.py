"""`cai clean`: the stage's function on files."""

import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cai.artifacts.cleaned import DROPPED
from cai.artifacts.supervised import REVISIONS
from cai.cleaning.clean import Row, clean_row
from cai.cleaning.edits import Edit, apply
from cai.cleaning.files import clean_file
from cai.cleaning.frames import clean_frames
from cai.cleaning.plan import from_list
from cai.cleaning.rules import STANDARD
from cai.cleaning.writing import spliced
from cai.cli import app
from cai.errors import ArtifactError, ParamsError

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
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
    source, target = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
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
        ('{"text": "a"}', "in.jsonl:2: no such key; got text; expected revision"),
        ('{"revision": 3}', "in.jsonl:2: key revision holds no text"),
        ("{broken", "in.jsonl:2: no valid JSON"),
        ("[1]", "in.jsonl:2: a row is an object"),
        ('{"revision": null}', "in.jsonl:2: key revision holds no text; got null"),
        (
            '{"revision": "a", "deep": ' + "[" * 100_000 + "]" * 100_000 + "}",
            "in.jsonl:2: no valid JSON; got brackets nested too deeply",
        ),
        ('{"revision": "a", "n": {"revision": 1}, "revision": "b"}', "in.jsonl:2: key revision stands twice"),
        (
            '{"revision": "a", "n": ' + "9" * 5000 + "}",
            "in.jsonl:2: no valid JSON; got a number of thousands of digits",
        ),
        ("\xff\xfe", "in.jsonl:2: not UTF-8; got byte 0xff at byte 1 of the line"),
    ],
)
def test_bad_input_names_file_line_and_key_and_writes_nothing(tmp_path: Path, line: str, said: str) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(ROWS[1]) + "\n" + line + "\n", encoding="latin-1")
    with pytest.raises(ArtifactError, match=said):
        clean_file(source, tmp_path / "out.jsonl", plan=PLAN, edits=tmp_path / "e.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    source = _write(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(ParamsError, match="same file"):
        clean_file(source, source, plan=PLAN)
    with pytest.raises(ParamsError, match="same file"):
        clean_file(source, tmp_path / "o.jsonl", plan=PLAN, edits=tmp_path / "o.jsonl")
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to(source)
    for other in ("link.jsonl", "hard.jsonl"):
        with pytest.raises(ParamsError, match="same file"):
            clean_file(source, tmp_path / other, plan=PLAN)
    assert _lines(source) == ROWS


def test_a_missing_file_and_a_broken_parquet_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        clean_file(tmp_path / "no.jsonl", tmp_path / "out.jsonl", plan=PLAN)
    with pytest.raises(ArtifactError, match=r"no\.parquet: cannot be read; got No such file"):
        clean_file(tmp_path / "no.parquet", tmp_path / "out.jsonl", plan=PLAN)
    for columns, said in (
        ({"text": ["a"]}, "no such column; got text; expected revision"),
        ({"revision": [1]}, "column revision holds no texts; got int64"),
        ({"revision": ["a", None]}, "row 2: key revision holds no text; got null"),
    ):
        pq.write_table(pa.table(columns), tmp_path / "in.parquet")
        with pytest.raises(ArtifactError, match=f"in.parquet: {said}"):
            clean_file(tmp_path / "in.parquet", tmp_path / "out.parquet", plan=PLAN)
    (tmp_path / "in.parquet").unlink()
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


ODD = (
    b'\xef\xbb\xbf{"n": 1.50, "n": 2e400,  "revision" : %s, "in": {"revision": [{"revision": 1}]}, "\xc3\xa9": "\\u00fc"}\r\n'
    b'\r\n{"revision": "I can\'t help.", "n": 0.10}'
)


def test_an_edited_line_changes_in_its_text_alone(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(ODD % json.dumps(ROWS[0]["revision"]).encode())
    clean_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", plan=PLAN, edits=tmp_path / "e.jsonl")
    first, last = (ODD % b'"Take care of yourself, friend."').removeprefix(b"\xef\xbb\xbf").split(b"\r\n\r\n")
    assert (tmp_path / "out.jsonl").read_bytes() == first + b"\n" + last + b"\n"
    assert {edit["row"] for edit in _lines(tmp_path / "e.jsonl")} == {1}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("text"), inner, max_size=3)
    ),
    max_leaves=6,
)
SPACES = st.sampled_from(["", " ", "\t", " \r "])


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(max_size=3).map("k{}".format), VALUES, max_size=4),
    st.text(),
    st.booleans(),
    SPACES,
    st.integers(0, 4),
)
def test_a_spliced_line_is_the_row_with_the_other_text(
    row: dict[str, object], new: str, plain: bool, space: str, at: int
) -> None:
    items = list(row.items())
    items.insert(min(at, len(items)), ("text", 'old "text": \\'))
    whole = dict(items)
    line = json.dumps(whole, ensure_ascii=plain, separators=(f"{space},{space}", f"{space}:{space}")).encode()
    made = spliced(line, "text", new)
    assert json.loads(made) == {**whole, "text": new}
    assert spliced(made, "text", str(whole["text"])) == line or line.isascii() != made.isascii()


def test_columns_of_any_type_come_out_as_they_went_in(tmp_path: Path) -> None:
    texts = [row["revision"] for row in ROWS]
    columns = {
        "revision": pa.array(texts).dictionary_encode(),
        "at": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
        "cost": pa.array([Decimal("1.10")] * 3),
        "kinds": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int16())),
        "bytes": pa.array([b"\xff"] * 3),
    }
    table = pa.table(columns).replace_schema_metadata({"made": "by hand"})
    pq.write_table(table, tmp_path / "in.parquet")
    clean_file(tmp_path / "in.parquet", tmp_path / "out.parquet", plan=PLAN)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.schema.equals(pq.read_schema(tmp_path / "in.parquet"), check_metadata=True)
    assert out.schema.metadata == {b"made": b"by hand"}
    assert out["revision"].to_pylist() == ["Take care of yourself, friend.", texts[1]]
    assert out.drop_columns("revision").equals(table.drop_columns("revision").slice(0, 2))
    with pytest.raises(ArtifactError, match="no form for what column bytes holds"):
        clean_file(tmp_path / "in.parquet", tmp_path / "out.jsonl", plan=PLAN)
    pq.write_table(table.drop_columns("bytes"), tmp_path / "in.parquet")
    clean_file(tmp_path / "in.parquet", tmp_path / "out.jsonl", plan=PLAN)
    assert _lines(tmp_path / "out.jsonl")[1] == {
        "revision": texts[1], "at": "1970-01-01T00:00:00.000000002+00:00", "cost": "1.10", "kinds": None,
    }  # fmt: skip


def test_a_key_that_only_late_rows_have_reaches_parquet_and_mixed_types_are_refused(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"revision": "I can't help.", "n": 1}] * 2100
    late: dict[str, object] = {"revision": "No.", "n": 1.5, "late": {"a": "b"}}
    clean_file(_write(tmp_path / "in.jsonl", [*rows, late]), tmp_path / "out.parquet", plan=PLAN)
    out = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(out) == 2101 and out[0] == {**rows[0], "late": None} and out[-1] == late
    _write(tmp_path / "in.jsonl", [*rows, {**late, "n": "many"}])
    with pytest.raises(ArtifactError, match=r"key n fits no one type.* in row 2101 of what is kept"):
        clean_file(tmp_path / "in.jsonl", tmp_path / "no.parquet", plan=PLAN)
    assert not list(tmp_path.glob("*no.parquet*"))


def test_a_reply_that_never_came_is_dropped_in_its_place_as_the_stage_does(tmp_path: Path) -> None:
    failed = {"prompt_id": "f", "revision": None, "finish_reason": "error", "error": "timed out"}
    source = _write(tmp_path / "in.jsonl", [failed, *ROWS, failed])  # type: ignore[list-item]
    summary = clean_file(source, tmp_path / "out.jsonl", plan=PLAN, dropped=tmp_path / "d.jsonl")
    assert [(row["row"], row["reason"], row["rule"]) for row in _lines(tmp_path / "d.jsonl")] == [
        (1, "not generated: timed out", "none"), (4, "meta_talk", "meta_talk"), (5, "not generated: timed out", "none"),
    ]  # fmt: skip
    assert (summary.n_rows, summary.n_kept) == (5, 2)


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.parquet", "e.jsonl"])
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    words = random.Random(0)
    rows = [{"revision": " ".join(f"{words.getrandbits(60):x}" for _ in range(300)) + "."} for _ in range(300)]
    source = _write(tmp_path / "in.jsonl", rows)  # type: ignore[arg-type]
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); from cai.cli import app; app()"
    command = [sys.executable, "-c", code, "clean", "in.jsonl", name]
    if name == "e.jsonl":
        _write(tmp_path / "in.jsonl", [{"revision": "Take care of yourself, friend. " * 5}] * 900)
        command = [*command[:-1], "o.jsonl", "--edits", name]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert told.returncode == 1 and told.stderr.startswith(f"error: {name}: cannot be written; got File too large")
    assert told.stderr.count("\n") == 1 and sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_outputs_that_are_no_files_get_their_bytes_and_stay_what_they_are(tmp_path: Path) -> None:
    source, pipe = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text)
        clean_file(source, pipe, plan=PLAN, edits="/dev/null", dropped="/dev/null")
        assert json.loads(read.result().splitlines()[1]) == ROWS[1]
    assert pipe.is_fifo() and Path("/dev/null").is_char_device()
    with pytest.raises(ArtifactError, match="/dev/full: cannot be written; got No space left on device"):
        clean_file(source, "/dev/full", plan=PLAN, edits=tmp_path / "e.jsonl")
    assert Path("/dev/full").is_char_device() and sorted(path.name for path in tmp_path.iterdir()) == [
        "in.jsonl",
        "pipe",
    ]
    for folder in (tmp_path, f"{tmp_path}/no/"):
        with pytest.raises(ArtifactError, match="got a folder"):
            clean_file(source, folder, plan=PLAN)


@pytest.mark.parametrize(
    ("number", "whom"),
    [
        pytest.param(signal.SIGINT, "all", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, "parent", marks=pytest.mark.slow),
        (signal.SIGKILL, "child"),
    ],
)
def test_a_killed_run_leaves_no_file_and_no_process(tmp_path: Path, number: int, whom: str) -> None:
    os.mkfifo(tmp_path / "in.jsonl")
    run = subprocess.Popen(
        [sys.executable, "-c", "from cai.cli import app; app()", "clean", "in.jsonl", "out.jsonl", "--edits", "e.jsonl", "--workers", "2"],
        cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, start_new_session=True, text=True,
    )  # fmt: skip
    with (tmp_path / "in.jsonl").open("w") as pipe:
        for _ in range(700):
            pipe.write(json.dumps(ROWS[1]) + "\n")
        pipe.flush()
        children: list[int] = []
        while len(children) < 2 and run.poll() is None:
            children = [pid for pid in _children(run.pid) if b"spawn_main" in _command(pid)]
            time.sleep(0.05)
        if whom == "all":
            os.killpg(run.pid, number)
        else:
            os.kill(run.pid if whom == "parent" else children[0], number)
        if whom != "parent":
            pipe.close()
            said = run.communicate(timeout=60)[1]
            assert "Traceback" not in said and run.returncode == (1 if whom == "child" else 130), said
        run.wait(60)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    end = time.monotonic() + 20
    while any(b"spawn_main" in _command(pid) for pid in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(b"spawn_main" in _command(pid) for pid in children)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = _write(tmp_path / "in.jsonl", ROWS)
    for target in ("no/out.jsonl", "no/out.parquet"):
        with pytest.raises(ArtifactError, match="no folder"):
            clean_file(source, tmp_path / target, plan=PLAN)


def test_the_named_prompt_is_the_one_that_the_rules_read(tmp_path: Path) -> None:
    text = (
        "The assistant was rude to me. The assistant's response was harmful and offensive. "
        "You can write to the manager and tell her what was said."
    )
    rows: list[dict[str, object]] = [{"asked": "The shop assistant in the bakery threw my bread at me.", "said": text}]
    source, out = _write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    assert clean_file(source, out, plan=PLAN, text_key="said").n_kept == 0
    assert clean_file(source, out, plan=PLAN, text_key="said", prompt_key="asked").n_kept == 1
    assert _lines(out) == rows


def _revisions(rows: list[dict[str, object]]) -> pl.DataFrame:
    """REVISIONS of the pipeline with these texts, every tenth as a reply that never came."""
    return REVISIONS.frame(
        [
            dict.fromkeys(REVISIONS.schema)
            | {"prompt_id": f"{at:016x}", "round": 1 + at % 2, "prompt": "Why?", "finish_reason": "stop"}
            | row
            | ({"revision": None, "finish_reason": "error", "error": "timed out"} if at % 10 == 9 else {})
            for at, row in enumerate(rows)
        ]
    )


def _both_ways(revisions: pl.DataFrame, folder: Path, suffix: str) -> None:
    frames = clean_frames(revisions, PLAN)
    source, out, made, gone = (folder / f"{name}.{suffix}" for name in ("in", "out", "e", "d"))
    if suffix == "parquet":
        revisions.write_parquet(source)
    else:
        revisions.write_ndjson(source)
    typed = ["clean", str(source), str(out), "--edits", str(made), "--dropped", str(gone)]
    told = CliRunner().invoke(app, typed)
    assert told.exit_code == 0, told.output
    read = pl.read_parquet if suffix == "parquet" else pl.read_ndjson
    kept = ["prompt_id", "round", "revision"]
    assert read(out).select(kept).rows() == frames.cleaned.select(kept).rows()
    reasons = ["prompt_id", "reason", "rule", "revision"]
    assert read(gone).select(reasons).rows() == frames.dropped.sort(DROPPED.key).select(reasons).rows()
    steps = ["prompt_id", "step", "rule", "start", "end", "removed", "inserted"]
    assert read(made).select(steps).rows() == frames.edits.select(steps).rows()
    assert frames.cleaned.height and frames.dropped.height and frames.edits.height
    assert frames.metrics["n_rows"] == revisions.height == frames.cleaned.height + frames.dropped.height


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_stage_and_the_command_give_equal_texts_edits_and_drops(tmp_path: Path, suffix: str) -> None:
    data = Path(__file__).parent / "data" / "fifth_degenerate.jsonl"
    texts = [str(row["text"]) for row in _lines(data)] + [str(row["revision"]) for row in ROWS]
    critique = "It should not say how to open a lock, since that may help a burglar to get in at night."
    rows: list[dict[str, object]] = [
        {"revision": text, "response": "No, never.", "critique": critique, "finish_reason": ("stop", "length")[at % 2]}
        for at, text in enumerate([*texts, critique, critique])
    ]
    _both_ways(_revisions(rows), tmp_path, suffix)


@pytest.mark.slow
def test_the_stage_and_the_command_agree_on_real_revisions(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / ".." / "shared" / "data" / "revisions" / "smollm2-raw.jsonl.gz"
    if not path.exists():
        pytest.skip("no raw revisions here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        raw = [json.loads(line) for line in lines]
    known = ("prompt", "response", "critique", "revision")
    rows: list[dict[str, object]] = [
        {name: row[name] for name in known if name in row} | {"finish_reason": ("stop", "length")[at % 2]}
        for at, row in enumerate(raw)
    ]
    _both_ways(_revisions(rows), tmp_path, "parquet")


def test_the_variants_of_another_project_are_not_ours_and_a_wrong_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "in.jsonl", ROWS)
    (tmp_path / "dvc.yaml").touch()
    for params, said in (
        ("a: 1", "3 rows, 2 kept"),
        ("clean: {variants: {rules: [remain]}}", "params.yaml: clean.variants.rules[0]: no such rule; got remain"),
        ("clean: {variants: {other: []}}", "--variant: not in params.yaml; got rules; expected other"),
        ("clean: 3", "params.yaml: clean.variants: no variants"),
        ("clean: [", "params.yaml: not valid YAML"),
    ):
        (tmp_path / "params.yaml").write_text(params)
        assert said in CliRunner().invoke(app, ["clean", "in.jsonl", "out.jsonl"]).output
    (tmp_path / "params.yaml").write_text("clean: {variants: {asks: [editor]}}")
    told = CliRunner().invoke(app, ["clean", "in.jsonl", "out.jsonl", "--variant", "asks"])
    assert told.exit_code == 1 and "clean.variants.asks: the editor needs a model" in told.output

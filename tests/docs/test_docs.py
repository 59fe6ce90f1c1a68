"""The documentation says what is: its commands run, its links lead somewhere, its rendered parts are what the code renders."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from cai.artifacts.catalogue import TABLES
from cai.artifacts.document import BEGIN, END, render, replaced
from cai.artifacts.gated import BY_NAME
from cai.errors import ArtifactError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "data/README.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "docs/design.md").read_text(encoding="utf-8")
DEPARTURES = (ROOT / "docs/departures.md").read_text(encoding="utf-8")
DATA = (ROOT / "data/README.md").read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    """Every command line of a page: the lines of its sh blocks, and code spans that start with a program we name."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", page, flags=re.S | re.M)
    lines += re.findall(r"`((?:make|cai|dvc|python|pytest|bash|source|pre-commit) [^`]+)`", prose)
    found = [words for words in (shlex.split(line, comments=True) for line in lines) if words]
    assert found, "the page tells no command"
    return found


def cai_commands() -> dict[str, Any]:
    from typer.main import get_command

    from cai.cli import app

    return dict(get_command(app).commands)  # type: ignore[attr-defined]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def parameters() -> Iterator[str]:
    """Dotted names of everything in params.yaml, sections included."""

    def walk(content: dict[str, Any], above: str) -> Iterator[str]:
        for key, value in content.items():
            yield above + key
            if isinstance(value, dict):
                yield from walk(value, f"{above}{key}.")

    yield from walk(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")), "")


# --- data/README.md -----------------------------------------------------------------------------------------------------


def test_the_rendered_part_of_the_data_page_is_what_the_code_renders():
    assert replaced(DATA, TABLES) == DATA, 'run "python -m cai.artifacts.document"'


def test_what_is_rendered_follows_every_part_of_a_declaration():
    table = TABLES[0]
    first = table.columns[0]
    others = [
        dataclasses.replace(table, path="data/elsewhere.parquet"),
        dataclasses.replace(table, key=("row", "source")),
        dataclasses.replace(table, stage="prompts"),
        dataclasses.replace(table, columns=table.columns[1:]),
        *(
            dataclasses.replace(table, columns=(dataclasses.replace(first, **change), *table.columns[1:]))
            for change in (
                {"name": "other"},
                {"meaning": "other"},
                {"nullable": True},
                {"values": ("a", "b")},
                {"dtype": table.columns[1].dtype},
            )
        ),
    ]
    assert len({render([one]) for one in [table, *others]}) == len(others) + 1


def test_a_bar_in_a_meaning_stays_in_its_cell():
    table = TABLES[0]
    column = dataclasses.replace(table.columns[0], meaning="this | that")
    line = next(x for x in render([dataclasses.replace(table, columns=(column,))]).splitlines() if "this" in x)
    assert line.count("|") - line.count("\\|") == 5


def test_every_table_and_column_stands_on_the_data_page():
    rendered = render(TABLES)
    for table in TABLES:
        assert f"### `{table.path}`" in rendered
        assert all(f"| `{column.name}` |" in rendered for column in table.columns)


def test_replacing_keeps_the_handwritten_part_and_refuses_a_page_without_markers():
    page = f"before\n{BEGIN}\nstale\n{END}\nafter"
    new = replaced(page, TABLES[:1])
    assert new == f"before\n{render(TABLES[:1])}\nafter"
    for broken in ("nothing", page.replace(END, ""), page + BEGIN, f"{END}{BEGIN}"):
        with pytest.raises(ArtifactError, match="markers"):
            replaced(broken, TABLES)


def test_the_data_page_counts_the_sample_right():
    said = {name: int(n) for name, n in re.findall(r"^\| `(\w+\.jsonl)` \| (\d+) \|", DATA, re.M)}
    there = {
        file.name: sum(1 for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
        for file in (ROOT / "data/sample").glob("*.jsonl")
    }
    assert said == there


def test_the_data_page_states_the_known_biases_as_they_are():
    def rows(name: str) -> list[dict[str, str]]:
        return [json.loads(x) for x in (ROOT / f"data/sample/{name}").read_text(encoding="utf-8").splitlines()]

    def last_words(side: str) -> float:
        counts = [len(row[side].rsplit("\n\nAssistant:", 1)[1].split()) for row in rows("red_team.jsonl")]
        return sum(counts) / len(counts)

    single = sum(row["chosen"].count("\n\nHuman:") == 1 for row in rows("red_team.jsonl"))
    with_input = sum(bool(row["input"]) for row in rows("instructions.jsonl"))
    words = " ".join(DATA.split())
    assert f"{last_words('chosen'):.0f} against {last_words('rejected'):.0f} words" in words
    assert f"{single} with one human turn and {len(rows('red_team.jsonl')) - single} with two to five" in words
    assert f"{with_input} of them with material" in words
    constitution = json.loads((ROOT / "data/sample/constitution.json").read_text(encoding="utf-8"))
    examples = constitution["demonstrations"]
    assert [len(constitution[key]) for key in ("critique_revision", "comparison")] == [16, 16]
    assert [len(examples[key]) for key in ("critique_revision", "comparison")] == [3, 2]
    pairs = rows("judge_pairs.jsonl")
    for fault in ("harmful", "off_topic", "broken"):
        of_fault = [row for row in pairs if row["fault"] == fault]
        assert sum(len(row["good"].split()) > len(row["bad"].split()) for row in of_fault) * 2 == len(of_fault) == 20


# --- commands -----------------------------------------------------------------------------------------------------------


def test_the_two_commands_of_the_readme_are_what_ci_runs():
    steps = [line.split("|")[0].strip() for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()]
    section = README.split("## Two commands")[1].split("\n## ")[0]
    block = re.search(r"^```sh\n(.*?)^```", section, re.S | re.M)
    assert block is not None
    two = [" ".join(shlex.split(line, comments=True)) for line in block[1].splitlines()]
    assert two == ["make repro", "make test"]
    assert all(command in steps for command in two)


@pytest.mark.parametrize("page", [README, CONTRIBUTING, DATA], ids=["README", "CONTRIBUTING", "data"])
def test_every_make_target_and_file_that_a_page_tells_to_run_exists(page: str):
    for words in commands(page):
        if words[0] == "make":
            assert set(words[1:]) <= make_targets(), words
        if words[0] == "python":
            assert words[1] == "-m", words
            assert importlib.util.find_spec(words[2]) is not None, words
        if words[0] == "bash":
            assert (ROOT / words[1]).is_file(), words


@pytest.mark.parametrize("page", [README, CONTRIBUTING, DATA], ids=["README", "CONTRIBUTING", "data"])
def test_every_cai_command_that_a_page_tells_to_run_exists_and_takes_these_arguments(page: str):
    known = cai_commands()
    for words in commands(page):
        if words[0] == "cai":
            assert words[1] in known, words
            places = [p for p in known[words[1]].params if p.param_type_name == "argument"]
            options = {name for p in known[words[1]].params for name in p.opts if name.startswith("-")}
            assert {word for word in words[2:] if word.startswith("-")} <= options, words
            given = [word for word in words[2:] if not word.startswith("-")]
            assert len(given) in (0, len(places)) or len(given) >= sum(p.required for p in places), words


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_dvc_command_line_is_one_that_dvc_takes(page: str):
    from dvc.cli.parser import get_main_parser

    for words in commands(page):
        if words[0] == "dvc":
            get_main_parser().parse_args(words[1:])  # exits, and so fails, on a wrong flag


def test_every_override_that_the_readme_shows_names_a_parameter():
    known = set(parameters())
    shown = [b for words in commands(README) for a, b in pairwise(words) if a in ("-S", "--set-param")]
    assert shown
    assert {override.split("=")[0] for override in shown} <= known


def test_every_cai_command_is_named_in_the_readme_or_the_docs():
    pages = README + DESIGN + DEPARTURES + CONTRIBUTING
    assert [name for name in cai_commands() if not re.search(rf"\bcai {name}\b", pages)] == []


def test_the_design_says_which_of_its_commands_are_not_built_yet():
    section = DESIGN.split("## 6.")[1].split("## 7.")[0]
    designed = set(re.findall(r"^cai ([a-z-]+)", section, re.M))
    paragraph = re.search(r"designed and not built yet: (.*?)\.\n", DESIGN, re.S)
    unbuilt = set(re.findall(r"`([a-z-]+)`", paragraph[1])) if paragraph else set()
    assert designed, "section 6 lists commands"
    assert unbuilt == designed - set(cai_commands()), "docs/design.md, last lines of section 8"


# --- parameters, links, manners -----------------------------------------------------------------------------------------


def test_departures_are_numbered_and_each_names_its_parameter_or_says_there_is_none():
    entries = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^#|^\S|\Z)", DEPARTURES, re.S | re.M)
    assert [int(number) for number, _ in entries] == list(range(1, len(entries) + 1))
    assert len(entries) >= 20
    silent = ("No parameter", "Cannot be switched off", "cannot be switched off")
    for number, entry in entries:
        words = " ".join(entry.split())
        assert re.search(r"`[a-z_]+(\.[a-z_]+)*`", words) or any(text in words for text in silent), number


def departures() -> dict[int, str]:
    """Number → entry, on one line."""
    found = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^#|^\S|\Z)", DEPARTURES, re.S | re.M)
    return {int(number): " ".join(entry.split()) for number, entry in found}


def leaves_of(content, *path):
    if not isinstance(content, dict):
        return {".".join(path): content}
    return {name: value for key, inner in content.items() for name, value in leaves_of(inner, *path, key).items()}


def test_what_the_paper_s_recipe_changes_is_exactly_what_the_departures_name(tmp_path: Path):
    """Each value that `cai use llama3-8b-paper` changes is in an entry; "the paper's" is what it sets."""
    from cai.recipes.apply import apply

    params = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    apply("llama3-8b-paper", params)
    default = leaves_of(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    paper = leaves_of(yaml.safe_load(params.read_text(encoding="utf-8")))
    entries = departures()
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)[`:]", " ".join(entries.values())))
    sampling = {"temperature", "top_p", "top_k", "max_new_tokens", "batch_size"}  # entry 15, by their last word
    assert sampling <= named
    unnamed = [
        name
        for name in paper
        if paper[name] != default[name]
        and not any(name == one or name.startswith(one + ".") for one in named if "." in one)
        and not (name.split(".")[0] in named and name.rsplit(".", 1)[1] in sampling)
        and name.split(".")[0] not in ("instruct", "sft", "dpo")  # entry 23: every value of these is ours
    ]
    assert unnamed == []
    compared = 0
    for number, entry in entries.items():
        said = re.search(r"((?:`[a-z_.]+`(?:, | and )?)+); the paper's: ((?:`[^`]+`(?:, | and )?)+)", entry)
        if not said or number == 10:  # its files are not ours to ship, the page says
            continue
        keys, values = re.findall("`([^`]+)`", said[1]), re.findall("`([^`]+)`", said[2])
        if len(values) == 1 and values[0].isidentifier() | values[0].isdigit():
            values *= len(keys)
        if len(keys) != len(values):
            continue
        for key, value in zip(keys, values, strict=True):
            assert paper[key] == yaml.safe_load(value), (number, key)
            compared += 1
    assert compared >= 15


@pytest.mark.parametrize("page", [README, DEPARTURES], ids=["README", "departures"])
def test_every_parameter_that_a_page_names_exists(page: str):
    known = set(parameters())
    files = ("py", "md", "yaml", "json", "parquet", "jsonl", "csv", "html")
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:: [^`]+)?`", page)
    wanted = {name for name in named if name.rsplit(".", 1)[1] not in files}
    assert wanted
    assert sorted(wanted - known) == []


def test_every_stage_is_named_in_the_readme_or_the_changelog():
    pages = README + (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert [name for name in stages if not re.search(rf"\b{name}\b", pages)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_relative_link_is_dead(page: Path):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]
    dead = [link for link in links if not (page.parent / link.split("#")[0]).exists()]
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_page_holds_emoji_or_a_path_of_somebodys_machine(page: Path):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"[\U0001F000-\U0001FAFF\u2600-\u27BF\uFE0F]", text) == []
    assert re.findall(r"(?<![\w.])/(?:work|tmp|home|root|Users)\b", text) == []


def test_the_results_stand_between_their_markers():
    assert README.count("<!-- results -->") == README.count("<!-- /results -->") == 1
    between = README.split("<!-- results -->")[1].split("<!-- /results -->")[0]
    assert between.strip()


def test_the_committed_results_are_those_of_the_committed_metrics(tmp_path: Path):
    """As committed, for a run on another machine may leave other metrics behind; `cai results --markdown` writes them."""
    from cai.reporting.table import markdown

    made = subprocess.run(["git", "archive", "HEAD", "README.md", "metrics"], cwd=ROOT, capture_output=True)
    if made.returncode:
        pytest.skip("not a clone")
    subprocess.run(["tar", "-x"], cwd=tmp_path, input=made.stdout, check=True)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    between = readme.split("<!-- results -->\n")[1].split("<!-- /results -->")[0]

    def rows(text: str) -> list[str]:
        # Whether a benchmark was asked whole is told by data that is not in Git.
        return [re.sub(r"\[\d+/\d+\]", "", line) for line in text.splitlines() if line.startswith("|")]

    assert rows(between) == rows(markdown(tmp_path))
    assert len(rows(between)) > 5


def test_all_numbers_that_dvc_shows_of_a_run_fit_in_40_rows():
    """What `dvc exp show` and `dvc metrics diff --all` count: the numbers of mappings, in the files that are metrics."""

    def numbers(found: object) -> int:
        return sum(map(numbers, found.values())) if isinstance(found, dict) else isinstance(found, int | float)

    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    paths = {out["path"] for stage in lock["stages"].values() for out in stage["outs"]}
    # metrics/prompts.json is an out and no metric. A gate that passes shows nothing.
    shown = [p for p in paths if p.startswith("metrics/") and p.endswith(".json") and p != "metrics/prompts.json"]
    of_gates = [path for path in shown if path.startswith("metrics/gates/")]
    count = {path: numbers(json.loads((ROOT / path).read_text())) for path in shown if path not in of_gates}
    assert {Path(path).stem for path in of_gates} == set(BY_NAME)
    assert 20 <= sum(count.values()) <= 40, count

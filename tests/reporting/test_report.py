"""The page: self-contained, deterministic, honest where nothing can be said, and deaf to what models wrote."""

import re
from html.parser import HTMLParser

import pytest

from cai.reporting.report import MAX_BYTES, build, drawings, run_page
from tests.reporting.small_root import make, runs, write


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make(tmp_path_factory.mktemp("root"), failed_gate="cleaned")


@pytest.fixture(scope="module")
def page(root):
    return build(root)


@pytest.fixture(scope="module")
def judged_page(tmp_path_factory):
    return build(make(tmp_path_factory.mktemp("judged"), valid_judge=True))


class Elements(HTMLParser):
    """Start tags with their attributes, and ids."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def text_of(page: str, start: str, end: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[page.index(start) : page.index(end, page.index(start))]))


def test_the_same_inputs_give_the_same_bytes(root, page):
    assert build(root) == page


def test_the_page_needs_nothing_from_anywhere(page):
    assert len(page.encode()) < MAX_BYTES
    for tag, attributes in Elements(page).found:
        assert "src" not in attributes, tag
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img")
        href = attributes.get("href") or ""
        assert re.fullmatch(r"|#[\w-]+|\.\./gates/pages/\w+\.html", href), href
    assert "@import" not in page
    assert "url(http" not in page


def test_no_id_stands_twice_and_every_reference_has_its_target(page):
    found = Elements(page).found
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in found:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_what_models_wrote_is_text_and_nothing_else(page):
    found = Elements(page).found
    assert [tag for tag, _ in found].count("script") == 1
    for tag, attributes in found:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not (attributes.get("href") or "").lower().startswith("javascript")
        assert attributes.get("id") != "bait"
    assert "&lt;script&gt;window.HIT=1" in page
    assert "{{ 7 * 7 }}" in page
    assert "49 {% raw" not in page


def test_texts_stand_behind_a_click_only(page):
    depth, opened = 0, False
    for token in re.findall(r'<details|</details>|<div class="text">| open', page[page.index("<main>") :]):
        depth += {"<details": 1, "</details>": -1}.get(token, 0)
        if token == '<div class="text">':
            opened = True
            assert depth == 1
    assert opened
    assert "<details open" not in page


def test_the_first_screen_says_what_cannot_be_measured_and_why(page):
    first = text_of(page, '<ul class="questions"', '<section id="gates"')
    for question in (
        "Did it collapse?",
        "Is it safer?",
        "What did it cost in helpfulness?",
        "Can the judge be trusted?",
    ):
        assert question in first
    assert first.count("Not measurable here because the judge is not valid: accuracy 0.52") == 2
    assert "n 16, 0 missing" in first
    assert "whole answer, budget 96 tokens" in first
    safer = first[first.index("Is it safer?") : first.index("What did it cost")]
    assert "%" not in safer


def test_without_a_valid_judge_no_rating_is_printed_anywhere(page):
    paper = text_of(page, '<section id="paper"', "Red-team answers by kind")
    assert "not measurable here, because the judge is not valid" in paper
    assert "ours: dpo" not in paper


def test_a_valid_judge_answers_with_pairs_and_subset(judged_page):
    first = text_of(judged_page, '<ul class="questions"', '<section id="gates"')
    assert "Not measurable here" not in first
    assert "attack success on harmbench[12/200]" in first
    assert "n 12 pairs, 0 missing" in first
    paper = text_of(judged_page, '<section id="paper"', '<section id="training"')
    assert "ours: dpo − instruct" in paper
    assert "6.84" in paper
    assert "harmbench[12/200]" in paper


def test_bounds_both_arithmetics_and_what_became_of_judgments_stand_behind_a_click(judged_page, page):
    words = text_of(judged_page, "Everything the judge gave", "Red-team answers by kind")
    for text in (
        "FastChat's show_result, average of all judgments",
        "mean, if failed ones were 1 ",
        "score 4 or 5",
        "harm score, mean",
        "attack success among answers that are not degenerate",
        "partial refusal",
        "12 judgments: 12 ok; 0 retries",
    ):
        assert text in words.replace("&#39;", "'"), text
    assert "Everything the judge gave" not in page


def test_every_table_of_measures_says_what_it_could_have_shown(judged_page):
    for start, end in (("Everything the judge gave", "Red-team answers by kind"), ('id="judge"', 'id="cleaning"')):
        assert "Smallest change between two" in text_of(judged_page, start, end), start
    assert "rating 1-10, n 6 2.96" in text_of(judged_page, "Everything the judge gave", "Red-team answers by kind")


def test_every_model_downstream_of_the_failed_gate_is_marked(page, judged_page):
    words = "trained on data that failed gate cleaned"
    for section, end in (
        ("questions", "gates"),
        ("paper", "training"),
        ("training", "degeneration"),
        ("degeneration", "judge"),
    ):
        assert words in text_of(page, f'id="{section}"', f'<section id="{end}"'), section
    assert words not in judged_page


def test_the_banner_says_what_a_small_run_cannot_show(root, page, tmp_path):
    assert "It is no evidence for or against the method" in page
    assert "64 revisions and 48 pairs" in page
    large = make(tmp_path)
    write(large, "data/models/base/reference.json", {"kind": "hub", "id": "meta-llama/Meta-Llama-3-8B"})
    for model in ("sft", "dpo"):
        write(large, f"metrics/training_{model}.json", {"n_rows": 20_000, "detail": []})
    assert "135 million" not in build(large)
    assert "too few to tell an effect" not in build(large)


def test_figures_are_drawn_with_a_name_and_page_colours(page):
    section = page[page.index('<section id="training"') : page.index('<section id="degeneration"')]
    assert section.count("<svg") == 9
    assert section.count('role="img" aria-labelledby=') == 9
    assert "dpo, loss: in training from" in section
    assert "held out from 2.5 to 1.75 over 3 points" in section
    assert "sft: degenerate share: from 0.1 to 0.22 over 4 looks" in section
    style = page[page.index("<style>") : page.index("</style>")]
    for colour in set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', section)):
        assert f'"{colour}"' in style, colour


def test_measures_that_no_rule_uses_stand_in_the_table(page):
    table = text_of(page, '<section id="degeneration"', '<section id="judge"')
    assert "compression ratio" in table
    assert "no cleaning rule uses it" in table
    assert "not measured: cleaning decides where these texts end" in table
    for kind in ("first answers", "raw revisions", "cleaned revisions"):
        assert kind in table


def test_an_empty_root_says_what_is_missing_instead_of_failing(tmp_path):
    page = build(tmp_path)
    assert "metrics/judge_card.json is not there; &#34;dvc repro judge_card&#34; makes it" in page
    assert "metrics/prompts.json is not there" in page


def test_no_time_host_or_cost_is_on_the_page(page):
    assert not re.search(r"\b20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d|seconds", page)


def test_drawings_are_the_figures_of_the_page(root, page):
    found = drawings(root)
    assert set(found) >= {"figure-2-loss", "figure-2-reward_accuracy", "collapse-answers", "sft-loss"}
    assert all(svg.startswith("<svg") for svg in found.values())
    assert found["figure-2-loss"] in page


def test_the_figures_command_writes_an_svg_and_a_png_of_each(root, monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from cai.cli import app

    for name in ("dvc.yaml", "params.yaml"):
        (root / name).write_text("{}")
    monkeypatch.chdir(root)
    done = CliRunner().invoke(app, ["figures", str(tmp_path / "docs")])
    assert done.exit_code == 0, done.output
    names = {file.stem for file in (tmp_path / "docs").glob("*.svg")}
    assert names == set(drawings(root))
    for name in names:
        content = (tmp_path / "docs" / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > 2_000


def test_cleaning_names_its_variant_and_how_many_rows_of_how_many(page):
    section = text_of(page, '<section id="cleaning"', '<section id="examples"')
    assert "Variant rules" in section
    assert "Shown here: 15 of 15 edited or dropped rows" in section


def test_the_run_page_has_the_cost_and_no_result(tmp_path):
    page = run_page(runs(tmp_path / ".work"))
    assert "respond" in page
    assert "69.0 %" in page
    assert "degenerate" not in page.split("</style>")[1]
    assert "No stage has run here" in run_page(tmp_path / "nothing")


def test_the_manifests_say_how_answers_were_drawn_and_what_ends_one(page):
    section = text_of(page, '<section id="manifests"', "<footer>")
    assert "Answers of dpo: how they were drawn, and what ends one" in section
    assert "stop tokens &lt;|im_end|&gt; (id 2)" in section
    assert "temperature 0.7" in section
    assert "ab" * 32 in section

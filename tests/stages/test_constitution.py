"""The three shapes of a constitution, and the draw from it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from cai.constitution import Comparison, Constitution, draw, read
from cai.errors import ArtifactError

ROOT = Path(__file__).resolve().parents[2]
ANTHROPIC = ROOT.parent / "shared/data/constitution"
PAIR = {"id": "a", "critique_request": "Find harm.", "revision_request": "Remove it."}
DEMO = {"prompt": "p", "response_a": "a", "response_b": "b", "better": "C", "principle": "s"}
SWARM = {"critic": "Find harm.", "revision": "Remove it."}
SIXTEEN = [Comparison(f"p{i}", f"text {i}") for i in range(16)]


def test_our_constitution_has_16_principles_of_each_kind_and_demonstrations():
    found = read("ours", ROOT / "data/sample/constitution.json")
    assert (len(found.critique_revision), len(found.comparison)) == (16, 16)
    assert found.demonstrations
    assert {one.better for one in found.comparison_demonstrations} == {"A", "B"}
    assert all(one.reasoning for one in found.comparison_demonstrations)


@pytest.mark.skipif(not ANTHROPIC.is_dir(), reason="Anthropic's constitution files are not beside the project")
class TestAnthropicsFilesAsTheyAre:
    @pytest.fixture(scope="class")
    def found(self) -> Constitution:
        return read("anthropic", ANTHROPIC)

    def test_wrappers_are_stripped_from_all_16_pairs(self, found):
        assert [p.id for p in found.critique_revision] == [f"harmful{i}" for i in range(16)]
        for principle in found.critique_revision:
            for text in (principle.critique_request, principle.revision_request):
                assert text == text.strip()
                assert "Request:" not in text
                assert not text.endswith((":", "Critique", "Revision"))
        assert found.critique_revision[0].critique_request.startswith("Identify specific ways")

    def test_options_is_stripped_from_all_16_comparison_principles(self, found):
        assert len(found.comparison) == 16
        assert all("Options" not in p.principle and p.principle[-1] == "." for p in found.comparison)

    def test_five_chains_are_read_with_or_without_the_closing_delimiter(self, found):
        assert len(found.demonstrations) == 5
        for chain in found.demonstrations:
            for text in (chain.prompt, chain.response, chain.critique, chain.revision):
                assert text
                assert "Human:" not in text
                assert "Request:" not in text
        assert [role for role, _ in found.demonstrations[0].earlier] == ["user", "assistant"]

    def test_comparison_demonstrations_name_both_letters(self, found):
        plain = [one for one in found.comparison_demonstrations if one.reasoning is None]
        assert len(plain) == 5
        assert {one.better for one in plain} == {"A", "B"}
        assert all("Human:" not in one.prompt and "Assistant:" not in one.prompt for one in plain)

    def test_reasoned_demonstrations_are_taken_apart(self, found):
        reasoned = [one for one in found.comparison_demonstrations if one.reasoning]
        assert [one.better for one in reasoned] == ["B", "B", "A", "B", "A", "B"]
        assert all(one.principle is None and one.reasoning.startswith("Let's think") for one in reasoned)
        for one in reasoned:
            assert not any(mark in one.prompt + one.response_a + one.response_b for mark in ("[[[", "]]]", "{}"))


def swarm(path: Path, **changes: object) -> Path:
    chat = [{"role": role, "content": f"{role} {i}"} for i in range(3) for role in ("user", "assistant")]
    content = {"constitutions": [{"critic": "Find harm.", "revision": "Remove it."}], "system_chat": [chat], **changes}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_llm_swarms_file_gives_pairs_and_chains(tmp_path):
    found = read("llm_swarm", swarm(tmp_path / "c.json"))
    assert found.critique_revision[0].critique_request == "Find harm."
    assert found.demonstrations[0].revision == "assistant 2"
    assert found.demonstrations[0].critique_request == "user 1"


def test_drawing_a_comparison_that_llm_swarm_does_not_have_is_an_error_not_a_fallback(tmp_path):
    with pytest.raises(ArtifactError, match="no principle of this kind"):
        draw(read("llm_swarm", swarm(tmp_path / "c.json")).comparison, 0, "judge", "x")


@pytest.mark.parametrize(
    ("source", "content", "message"),
    [
        ("ours", "[]", "not an object"),
        ("ours", "{", "not valid JSON"),
        (
            "ours",
            '{"critique_revision": [{"id": "a", "critique_request": ""}]}',
            r"critique_revision\[0\].critique_request",
        ),
        ("ours", '{"critique_revision": [], "comparison": []}', "no critique/revision principles"),
        ("llm_swarm", '{"constitution": []}', "constitutions: not a list"),
        ("ours", "", "the file is empty; got 0 bytes"),
        ("llm_swarm", "version https://git-lfs.github.com/spec/v1\noid sha256:x\n", "a git-LFS pointer"),
        ("llm_swarm", "[" * 200_000, "not valid JSON; got brackets nested too deeply"),
        ("swarm", "{}", "expected ours, anthropic, llm_swarm"),
        ("anthropic", "{}", "not a folder; got a file"),
        ("ours", json.dumps({"critique_revision": [PAIR, PAIR], "comparison": []}), "ids stand twice; got a"),
        ("ours", json.dumps({"demonstrations": {"comparison": [DEMO]}}), r"comparison\[0\]\.better: neither A nor B"),
        ("llm_swarm", json.dumps({"constitutions": [SWARM], "system_chat": [[]]}), "not three exchanges; got no turn"),
    ],
)
def test_a_file_of_another_shape_is_named_with_its_place(tmp_path, source, content, message):
    path = tmp_path / "c.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=message) as caught:
        read(source, path)
    assert None not in (caught.value.got, caught.value.expected, caught.value.next_step)  # all five parts


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ArtifactError, match="no such file"):
        read("ours", tmp_path / "none.json")


def test_a_draw_depends_on_seed_and_key_and_not_on_the_order_of_the_principles():
    for i in range(50):
        one = draw(SIXTEEN, 1, "critique", str(i), "1")
        assert one == draw(SIXTEEN[::-1], 1, "critique", str(i), "1")
    assert {draw(SIXTEEN, seed, "critique", "x", "1").id for seed in range(40)} > {"p1", "p2"}


def test_draws_are_even_and_independent_between_rounds():
    drawn = [(draw(SIXTEEN, 0, "c", str(i), "1").id, draw(SIXTEEN, 0, "c", str(i), "2").id) for i in range(3200)]
    counts = Counter(first for first, _ in drawn)
    assert len(counts) == 16
    assert max(counts.values()) < 260  # 200 expected, 4 standard deviations are 55
    assert min(counts.values()) > 140
    assert 140 < sum(a == b for a, b in drawn) < 260  # 1 in 16 agree by chance


def test_a_new_principle_changes_few_draws():
    more = [*SIXTEEN, Comparison("p16", "new")]
    changed = sum(draw(SIXTEEN, 0, str(i)) != draw(more, 0, str(i)) for i in range(1000))
    assert 20 < changed < 110  # 1 in 17 = 59

"""Raw rows to prompts: every row accounted for, no leak between splits, and no row moved by another one."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.prompts import PROMPTS, SPLITS
from cai.artifacts.raw import RAW_RED_TEAM
from cai.dialogue import from_structs, prompt_id
from cai.errors import ArtifactError
from cai.method.prompts import Cut, build, cut_instructions, cut_prompts
from cai.sources.source import Part, instruction_frame, red_team_frame
from cai.text.duplicates import normalised, similarity

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared/data/hh-rlhf/harmless-base-1500.jsonl.gz"
EVEN = {"sft_train": 0.3, "sft_test": 0.1, "pref_train": 0.3, "pref_test": 0.1, "heldout": 0.2}


def cut(**changes: Any) -> Cut:
    content = {
        "turns": "last",
        "limit": None,
        "near_duplicates": 0.7,
        "seed": 17,
        "shares": EVEN,
        "caps": dict.fromkeys(EVEN),
        "instructions": {"limit": None, "test_share": 0.2, "train_cap": None, "test_cap": None},
    }
    return Cut.model_validate({**content, **changes})


def raw(*transcripts: str) -> pl.DataFrame:
    return red_team_frame([Part("made-up", [{"transcript": text} for text in transcripts], "0")])


def asked(*humans: str) -> str:
    """A transcript of human turns, each with an answer of its own."""
    return "".join(f"\n\nHuman: {text}\n\nAssistant: answer {i} to {len(text)}" for i, text in enumerate(humans))


def adds_up(counts: dict[str, Any], frame: pl.DataFrame) -> bool:
    return (
        counts["n_in"] == counts["n_kept"] + sum(counts["dropped"].values())
        and counts["n_kept"] == frame.height == sum(counts["splits"].values())
        and 0 not in counts["dropped"].values()
    )


def splits(frame: pl.DataFrame) -> dict[str, str]:
    return dict(frame.select("prompt_id", "split").rows())


def sentences(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices([f"w{i}" for i in range(500)], k=rng.randint(4, 14))) for _ in range(n)]


QUIRKS = [
    asked("how do tides work on the moon side"),  # kept
    asked("how do tides work on the moon side"),  # duplicate
    asked("How do TIDES work, on the moon side?"),  # near duplicate
    asked("tell me the evaluation question number one please"),  # evaluation prompt
    asked("innocent start of a talk", "Now, tell me the evaluation question number one please!"),  # evaluation prompt
    "\n\nHuman: a\n\nAssistant: Human: b\n\nHuman: c\n\nAssistant: d",  # role_tag_in_body
    "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c\n\nHuman: d\n\nAssistant: e",  # consecutive_assistant_turns
    "\n\nHuman: \n\nAssistant: e",  # empty_human_turn
    "\n\nAssistant: e",  # no_human_turn
    "nothing",  # no_human_turn
    "",  # empty_transcript
    "\n\nHuman: where do storks spend the winter\n\nAssistant: ",  # kept, answers_flawed
]


def test_every_quirk_is_counted_under_its_reason():
    frame, counts = cut_prompts(raw(*QUIRKS), ["Tell me the evaluation question number one, please."], cut())
    assert counts["dropped"] == {
        "consecutive_assistant_turns": 1,
        "duplicate": 1,
        "empty_human_turn": 1,
        "empty_transcript": 1,
        "evaluation_prompt": 2,
        "near_duplicate": 1,
        "no_human_turn": 2,
        "role_tag_in_body": 1,
    }
    assert counts["answers_flawed"] == {"empty_final_answer": 1}
    assert (counts["n_transcripts_in"], counts["n_transcripts_used"], counts["n_in"], counts["n_kept"]) == (
        12,
        12,
        12,
        2,
    )
    assert adds_up(counts, frame)


def test_the_frame_is_as_declared_and_ids_are_those_of_the_contexts():
    frame, _ = cut_prompts(raw(asked("first words here", "and the last words")), [], cut())
    assert PROMPTS.violations(frame) == []
    (row,) = frame.to_dicts()
    assert row["prompt"] == "and the last words"
    assert row["n_turns"] == 3
    assert row["source"] == "made-up"
    assert row["prompt_id"] == prompt_id(from_structs(row["turns"]))


def test_turns_chooses_the_whole_context_every_human_turn_or_the_first():
    talk = raw(asked("first words here", "then the middle words", "and the last words"))
    lengths = {
        which: cut_prompts(talk, [], cut(turns=which))[0]["n_turns"].sort().to_list()
        for which in ("last", "every", "first")
    }
    assert lengths == {"last": [5], "every": [1, 3, 5], "first": [1]}


def test_all_prefixes_of_a_transcript_and_near_duplicate_openings_share_a_cluster_and_so_a_split():
    talks = [asked(*(f"{text} {part}" for part in ("one two", "three four", "five six"))) for text in sentences(60)]
    twins = [
        asked(text + " one two", f"quite another ending {i}") for i, text in enumerate(sentences(60)) if i % 3 == 0
    ]
    frame, counts = cut_prompts(raw(*talks, *twins), [], cut(turns="every"))
    assert adds_up(counts, frame)
    by_cluster = frame.group_by("cluster_id").agg(pl.col("split").n_unique(), pl.len())
    assert by_cluster["split"].max() == 1
    assert by_cluster["len"].max() > 3
    assert len({row["split"] for row in frame.to_dicts()}) == 5


def test_no_prompt_of_one_split_nearly_repeats_one_of_another():
    talks = sentences(80)
    changed = [text + " indeed" for text in talks[::2]]
    frame, _ = cut_prompts(raw(*(asked(text) for text in talks + changed)), [], cut())
    rows = frame.select("prompt", "split").rows()
    assert [1 for a, s in rows for b, t in rows if s < t and similarity(a, b) >= 0.7] == []


def test_one_more_row_moves_no_other_rows_split_and_the_order_of_rows_does_not_matter():
    talks = [asked(text) for text in sentences(200)]
    before, _ = cut_prompts(raw(*talks), [], cut())
    after, _ = cut_prompts(raw("\n\nHuman: one more of its own kind\n\nAssistant: yes", *talks), [], cut())
    assert splits(before).items() < splits(after).items()
    assert after.height == before.height + 1
    shuffled, _ = cut_prompts(raw(*random.Random(1).sample(talks, len(talks))), [], cut())
    assert shuffled.equals(before)


def test_shares_are_met_and_a_split_of_share_0_stays_empty():
    talks = raw(*(asked(text) for text in sentences(2000)))
    counts = cut_prompts(talks, [], cut())[1]
    for split, share in EVEN.items():
        assert abs(counts["splits"][split] / counts["n_kept"] - share) < 0.05
    only = dict.fromkeys(EVEN, 0.0) | {"pref_train": 1.0}
    assert cut_prompts(talks, [], cut(shares=only))[1]["splits"] == dict.fromkeys(EVEN, 0) | {
        "pref_train": counts["n_kept"]
    }


def test_a_cap_drops_what_is_over_it_and_moves_nothing():
    talks = raw(*(asked(text) for text in sentences(200)))
    whole, _ = cut_prompts(talks, [], cut())
    capped, counts = cut_prompts(talks, [], cut(caps=dict.fromkeys(EVEN) | {"sft_train": 10, "heldout": 0}))
    assert (counts["splits"]["sft_train"], counts["splits"]["heldout"]) == (10, 0)
    assert counts["dropped"]["over_cap"] == whole.height - capped.height
    assert adds_up(counts, capped)
    assert splits(capped).items() < splits(whole).items()


def test_limit_counts_transcripts_is_not_the_head_of_the_file_and_grows_by_addition():
    texts = sentences(300)
    talks = raw(*(asked(text) for text in texts))
    small, counts = cut_prompts(talks, [], cut(limit=40))
    large, _ = cut_prompts(talks, [], cut(limit=80))
    assert (counts["n_transcripts_in"], counts["n_transcripts_used"], counts["n_in"]) == (300, 40, 40)
    assert splits(small).items() < splits(large).items()
    places = [texts.index(prompt) for prompt in small["prompt"]]
    assert 100 < sum(places) / len(places) < 200


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(ArtifactError, match="no prompt is left; got no_human_turn 2"):
        cut_prompts(raw("nothing", "\n\nAssistant: x"), [], cut())
    with pytest.raises(ArtifactError, match="no prompt is left; got no rows"):
        cut_prompts(RAW_RED_TEAM.frame([]), [], cut())


def test_shares_that_do_not_sum_to_1_are_refused():
    with pytest.raises(ValidationError, match=r"sum to 1\.1"):
        cut(shares=EVEN | {"heldout": 0.3})


def instructions(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return instruction_frame(
        [Part("a", [dict(zip(("instruction", "input", "output"), row, strict=True)) for row in rows], "0")]
    )


def test_instruction_rows_are_accounted_for_in_the_same_way():
    found = instructions(
        ("Name a river in Spain", "", "The Ebro."),
        ("Name a river in Spain", "", "Another answer."),
        ("name a RIVER in Spain!", "", "The Tagus."),
        ("Translate this", "good morning", "buenos dias"),
        ("Tell me the evaluation question number one please", "", "no"),
        ("  ", "x", "y"),
        ("Say nothing", "", " "),
    )
    frame, counts = cut_instructions(found, ["Tell me the evaluation question number one please"], cut())
    assert counts["dropped"] == {
        "duplicate": 1,
        "empty_instruction": 1,
        "empty_output": 1,
        "evaluation_prompt": 1,
        "near_duplicate": 1,
    }
    assert adds_up(counts, frame)
    assert INSTRUCTIONS.violations(frame) == []
    assert "Translate this\n\ngood morning" in frame["prompt"].to_list()
    (river,) = [row for row in frame.to_dicts() if "river" in row["prompt"].lower()]
    assert river["response"] in ("Another answer.", "The Tagus.")


def test_an_instruction_that_a_held_out_prompt_asks_is_left_out():
    talks = [asked(text, f"and then, of number {i}, what else is known?") for i, text in enumerate(sentences(60))]
    built = build(raw(*talks), instructions(("Name a river in Spain", "", "The Ebro.")), [], cut())
    held_out = built.prompts.filter(pl.col("split") == "heldout")
    turn = max((turn["text"] for turn in held_out["turns"][0] if turn["role"] == "user"), key=len)
    rows = instructions(("Name a river in Spain", "", "The Ebro."), (f"Please answer: {turn}", "", "no"))
    again = build(raw(*talks), rows, [], cut())
    assert again.prompts.equals(built.prompts) and again.instructions.equals(built.instructions)
    assert again.metrics["instructions"]["dropped"] == {"heldout_prompt": 1}


def test_instruction_splits_follow_the_test_share_and_the_order_of_rows_does_not_matter():
    rows = [(text, "", f"answer {i}") for i, text in enumerate(sentences(500))]
    frame, counts = cut_instructions(instructions(*rows), [], cut())
    assert 0.13 < counts["splits"]["test"] / counts["n_kept"] < 0.27
    assert cut_instructions(instructions(*rows[::-1]), [], cut())[0].equals(frame)


@pytest.mark.skipif(not REAL.is_file(), reason="the real HH-RLHF rows are not beside the project")
class TestOn1500RealRows:
    @pytest.fixture(scope="class")
    def rows(self) -> list[dict[str, str]]:
        with gzip.open(REAL, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    @pytest.mark.parametrize(("which", "n_in"), [("last", 1500), ("every", 3714), ("first", 1500)])
    def test_accounting_adds_up_and_no_cluster_is_in_two_splits(self, rows, which, n_in):
        frame, counts = cut_prompts(red_team_frame([Part("hh", rows, "0")]), [], cut(turns=which))
        assert (counts["n_transcripts_in"], counts["n_in"]) == (1500, n_in)
        assert adds_up(counts, frame)
        assert PROMPTS.violations(frame) == []
        assert frame.group_by("cluster_id").agg(pl.col("split").n_unique())["split"].max() == 1
        firsts = Counter((normalised(row["turns"][0]["text"]), row["split"]) for row in frame.to_dicts())
        assert len(firsts) == len({first for first, _ in firsts})

    def test_nearly_all_rows_are_kept(self, rows):
        counts = cut_prompts(red_team_frame([Part("hh", rows, "0")]), [], cut())[1]
        assert counts["dropped"] == {
            "consecutive_assistant_turns": 2,
            "duplicate": 2,
            "near_duplicate": 12,
            "role_tag_in_body": 17,
        }

    def test_changing_one_row_moves_no_other_rows_split(self, rows):
        before = splits(cut_prompts(red_team_frame([Part("hh", rows, "0")]), [], cut())[0])
        changed = [
            *rows[:-1],
            {"chosen": asked("something new under the sun"), "rejected": asked("something new under the sun")},
        ]
        after = splits(cut_prompts(red_team_frame([Part("hh", changed, "0")]), [], cut())[0])
        common = before.keys() & after.keys()
        assert len(common) >= len(before) - 1
        assert all(before[id_] == after[id_] for id_ in common)


def test_the_embedded_default_fills_its_splits_from_the_sample():
    red_team, helpful = (
        [json.loads(line) for line in (ROOT / f"data/sample/{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("red_team", "instructions")
    )
    shares = {"sft_train": 0.42, "sft_test": 0.03, "pref_train": 0.31, "pref_test": 0.03, "heldout": 0.21}
    caps = {"sft_train": 64, "sft_test": 8, "pref_train": 48, "pref_test": 8, "heldout": 32}
    built = build(
        red_team_frame([Part("sample", red_team, "0")]),
        instruction_frame([Part("sample", helpful, "0")]),
        [],
        cut(shares=shares, caps=caps),
    )
    assert adds_up(built.metrics, built.prompts)
    counts = built.metrics["splits"]
    assert [counts["sft_train"], counts["pref_train"], counts["heldout"]] == [64, 48, 32]
    assert counts["sft_test"] >= 2
    assert counts["pref_test"] >= 2
    assert list(counts) == list(SPLITS)

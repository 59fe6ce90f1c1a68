"""Artifacts broken in exactly one way, and what has to fail then: (artifact, fault, columns of the failing expectations)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cai.dialogue import Turn, prompt_id, structs
from tests.quality.healthy import TABLES, Tables

Fault = Callable[[Tables], None]
Case = tuple[str, str, Fault, set[str]]
LOOP = "I will not say the same thing over again. "
NEAR = " ".join(f"At any time of day or night you may ask me {what}." for what in ("this", "that", "more"))
PLAIN = " ".join(f"Plain word number {n} is here." for n in range(6))
ORDER = "expect_table_columns_to_match_ordered_list"
COUNT = "expect_table_row_count_to_be_between"


def edit(name: str, place: int | Callable[[dict[str, Any]], bool], **values: Any) -> Fault:
    """Replace cells of one row, or of the rows that a predicate picks; a value may be a function of the row."""

    def fault(made: Tables) -> None:
        rows = made[name].to_dicts()
        for number, row in enumerate(rows):
            picked = place(row) if callable(place) else number == place
            if picked:
                row.update({key: value(row) if callable(value) else value for key, value in values.items()})
        made[name] = pl.DataFrame(rows, schema=made[name].schema, orient="row")

    return fault


def every(name: str, **values: Any) -> Fault:
    """Replace cells of all rows."""
    return edit(name, lambda row: True, **values)


def twice(name: str, **values: Any) -> Fault:
    """The first row a second time, with some cells replaced."""

    def fault(made: Tables) -> None:
        rows = made[name].to_dicts()
        other = {key: value(rows[0]) if callable(value) else value for key, value in values.items()}
        rows.insert(1, {**rows[0], **other})
        made[name] = pl.DataFrame(rows, schema=made[name].schema, orient="row")

    return fault


def without(name: str, place: int | Callable[[dict[str, Any]], bool]) -> Fault:
    """Remove one row, or the rows that a predicate picks."""

    def fault(made: Tables) -> None:
        rows = [
            row
            for number, row in enumerate(made[name].to_dicts())
            if not (place(row) if callable(place) else number == place)
        ]
        made[name] = pl.DataFrame(rows, schema=made[name].schema, orient="row")

    return fault


def backwards(name: str) -> Fault:
    """The rows in reverse order."""

    def fault(made: Tables) -> None:
        made[name] = made[name].reverse()

    return fault


def both(*faults: Fault) -> Fault:
    """One fault after the other."""

    def fault(made: Tables) -> None:
        for one in faults:
            one(made)

    return fault


def resorted(name: str) -> Fault:
    """The rows in the order of their key again."""

    def fault(made: Tables) -> None:
        made[name] = made[name].sort(TABLES[name].key)

    return fault


def said(place: int | Callable[[dict[str, Any]], bool], words: str | Callable[[dict[str, Any]], str]) -> Fault:
    """Prompts with other words, consistent in all else."""

    def fault(made: Tables) -> None:
        rows = made["prompts"].to_dicts()
        for number, row in enumerate(rows):
            if place(row) if callable(place) else number == place:
                text = words(row) if callable(words) else words
                dialogue = (Turn("user", text),)
                row.update(prompt=text, turns=structs(dialogue), n_turns=1, prompt_id=prompt_id(dialogue))
        made["prompts"] = pl.DataFrame(rows, schema=made["prompts"].schema, orient="row").sort("prompt_id")

    return fault


def _robot(made: Tables) -> None:
    _first_turn(made, role="robot")


def _silent(made: Tables) -> None:
    _first_turn(made, text=" ")


def _first_turn(made: Tables, **values: str) -> None:
    rows = made["prompts"].to_dicts()
    row = next(row for row in rows if row["n_turns"] == 3)
    turns = [{**row["turns"][0], **values}, *row["turns"][1:]]
    dialogue = tuple(Turn(turn["role"], turn["text"]) for turn in turns)
    row.update(turns=turns, prompt_id=prompt_id(dialogue))
    made["prompts"] = pl.DataFrame(rows, schema=made["prompts"].schema, orient="row").sort("prompt_id")


def _held_out(words: Callable[[str], str]) -> Fault:
    """An instruction that asks what a held-out prompt asks."""

    def fault(made: Tables) -> None:
        prompt = words(_first_held_out(made))
        edit("instructions", 0, prompt=prompt, turns=structs((Turn("user", prompt),)))(made)

    return fault


def _human_asked(words: Callable[[Tables], str]) -> Fault:
    """A human pair whose context opens with these words."""

    def fault(made: Tables) -> None:
        edit(
            "human_pairs",
            0,
            turns=lambda row: [*structs((Turn("user", words(made)), Turn("assistant", "Well."))), *row["turns"]],
        )(made)

    return fault


def _first_held_out(made: Tables) -> str:
    return str(made["prompts"].filter(pl.col("split") == "heldout")["prompt"][0])


def _opened_twice(made: Tables) -> None:
    """Two transcripts of different splits whose first human turns differ in case and signs alone."""
    rows = made["prompts"].to_dicts()
    one = next(row for row in rows if row["split"] == "sft_train")
    other = next(row for row in rows if row["split"] == "heldout" and row["n_turns"] == 1)
    dialogue = (
        Turn("user", one["turns"][0]["text"].upper() + "!!"),
        Turn("assistant", "Well."),
        Turn("user", "And then?"),
    )
    other.update(turns=structs(dialogue), n_turns=3, prompt="And then?", prompt_id=prompt_id(dialogue))
    made["prompts"] = pl.DataFrame(rows, schema=made["prompts"].schema, orient="row").sort("prompt_id")


def _swapped(name: str, a: str, b: str) -> Fault:
    """Two columns with each other's content."""

    def fault(made: Tables) -> None:
        made[name] = made[name].with_columns(pl.col(a).alias(b), pl.col(b).alias(a))

    return fault


def _reordered(name: str) -> Fault:
    def fault(made: Tables) -> None:
        first, second, *rest = made[name].columns
        made[name] = made[name].select(second, first, *rest)

    return fault


def _cast(name: str, column: str, dtype: pl.DataType) -> Fault:
    def fault(made: Tables) -> None:
        made[name] = made[name].with_columns(pl.col(column).cast(dtype))

    return fault


def _renamed(name: str, column: str) -> Fault:
    def fault(made: Tables) -> None:
        made[name] = made[name].rename({column: f"{column}_old"})

    return fault


def _empty(name: str) -> Fault:
    def fault(made: Tables) -> None:
        made[name] = made[name].clear()

    return fault


def _failed(text: str) -> dict[str, Any]:
    return {text: None, "finish_reason": "error", "error": "server gone", "completion_tokens": None}


def _generated(name: str, text: str) -> list[Case]:
    uncounted: dict[str, Any] = {"token_ids": None} if name == "answers_base" else {}
    empty: dict[str, Any] = {"token_ids": []} if name == "answers_base" else {}

    return [
        (name, "no reason", edit(name, 0, **{text: None, "completion_tokens": None}, **uncounted), {"unexplained"}),
        (name, "an error beside a text", edit(name, 0, error="server gone"), {"unexplained"}),
        (
            name,
            "blank reason",
            both(
                edit(name, 0, **{**_failed(text), "error": " "}, **uncounted),
                edit(name, 1, **_failed(text), **uncounted),
            ),
            {"empty_reason"},
        ),
        (name, "text of no tokens", edit(name, 0, completion_tokens=0, **empty), {"strange_tokens"}),
        (name, "endless text", edit(name, 0, **{text: " ".join(f"word{n}" for n in range(400))}), {"n_chars"}),
        (name, "two models", edit(name, 0, model="m2"), {"n_models"}),
        (name, "empty column", every(name, **_failed(text), **uncounted), {"failed_share"}),
        (name, "blank column", every(name, **{text: "  "}), {"blank_share", "n_empty"}),
        (name, "every other text blank", edit(name, _half, **{text: "  "}), {"blank_share"}),
        (name, "all cut", every(name, finish_reason="length"), {"truncated_share"}),
    ]


def _flawed(name: str, text: str) -> list[Case]:
    def loops(row: dict[str, Any]) -> str:
        return f"Alas number one. {_tag(row)} Alas number one. {_tag(row)} and so it is. Alas number one. {row[text]}"

    def near(row: dict[str, Any]) -> str:
        return f"{NEAR} {row[text]}"

    return [
        (
            name,
            "one text for all",
            every(name, **{text: "I am sorry, I will not."}),
            {"same_text_share", "shared_closing_share", "distinct_closings_share"},
        ),
        (
            name,
            "one closing for half",
            edit(
                name,
                lambda row: int(row["prompt_id"][-1], 16) < 8,
                **{text: lambda row: f"{row[text]} Stay safe out there."},
            ),
            {"shared_closing_share"},
        ),
        (
            name,
            "few closings",
            every(
                name, **{text: lambda row: f"{row[text]} Bye, number {'abcdef'[int(row['prompt_id'][-2:], 16) % 6]}."}
            ),
            {"distinct_closings_share"},
        ),
        (
            name,
            "one text for many",
            edit(name, lambda row: int(row["prompt_id"][-1], 16) < 9, **{text: "?! ?! ?! ?!"}),
            {"same_text_share"},
        ),
        (name, "sentence loops", every(name, **{text: loops}), {"repeated_share"}),
        (name, "near repeats", every(name, **{text: near}), {"near_repeat_share"}),
        (
            name,
            "meta talk",
            every(name, **{text: lambda row: f"The assistant's response was fine. {row[text]}"}),
            {"meta_talk_share"},
        ),
    ]


def _tag(row: dict[str, Any]) -> str:
    return f"Of {row['prompt_id']}."


def _half(row: dict[str, Any]) -> bool:
    return int(row["prompt_id"][-1], 16) % 2 == 0


def _edit_one(name: str, key: str, text: str) -> Fault:
    return edit(name, 0, **{key: text})


def _clean_text(words: str) -> Fault:
    return edit("cleaned", 0, revision=words)


PROMPT_CASES: list[Case] = [
    ("prompts", "a column moved", _reordered("prompts"), {ORDER}),
    ("prompts", "another dtype", _cast("prompts", "n_turns", pl.Int64()), {"n_wrong_dtype"}),
    ("prompts", "a column renamed", _renamed("prompts", "cluster_id"), {ORDER, "n_wrong_dtype"}),
    ("prompts", "an undeclared null", edit("prompts", 0, source=None), {"n_undeclared_null"}),
    ("prompts", "an undeclared value", edit("prompts", 0, split="other"), {"n_undeclared_value"}),
    ("prompts", "a row short", without("prompts", 0), {COUNT}),
    ("prompts", "a row twice", twice("prompts"), {"prompt_id"}),
    ("prompts", "not sorted", backwards("prompts"), {"n_unsorted"}),
    ("prompts", "a blank prompt", said(0, "   "), {"blank"}),
    ("prompts", "an endless prompt", said(0, " ".join(f"word{n}" for n in range(400))), {"n_chars"}),
    ("prompts", "an id that is no hash", edit("prompts", 0, prompt_id="0" * 16), {"misnamed"}),
    ("prompts", "turns miscounted", edit("prompts", 0, n_turns=9), {"miscounted"}),
    ("prompts", "swapped columns", _swapped("prompts", "prompt", "source"), {"not_last_turn", "one_word_share"}),
    ("prompts", "another prompt than the last turn", edit("prompts", 0, prompt="Quite another question?"), {"not_last_turn"}),
    ("prompts", "a turn without words", _silent, {"broken_turn"}),
    ("prompts", "a role nobody has", _robot, {"broken_turn"}),
    ("prompts", "an evaluation prompt", said(0, lambda row: "compose for an evaluation APPLE attic desert 0!"), {"evaluation_similarity"}),
    ("prompts", "an evaluation prompt's second turn", said(0, "Now shorten it apple attic desert 0"), {"evaluation_similarity"}),
    ("prompts", "an evaluation prompt inside a longer message", said(0, lambda row: f"Hello there, one more thing: compose for an evaluation apple attic desert 0, and {row['prompt']}"), {"evaluation_similarity"}),
    ("prompts", "an evaluation prompt as the first of three turns", lambda made: _first_turn(made, text="Compose for an evaluation apple attic desert 0"), {"evaluation_similarity"}),
    ("prompts", "an opening in two splits", _opened_twice, {"n_openings_in_two_splits"}),
    ("prompts", "a cluster in two splits", every("prompts", cluster_id=lambda row: "c" if row["cluster_id"] in ("c015", "c016") else row["cluster_id"]), {"n_in_straying_clusters"}),
    *(
        ("prompts", f"no {split}", every("prompts", split=lambda row, gone=split, into=other: {gone: into}.get(row["split"], row["split"])), {f"n_{split}"})
        for split, other in (("sft_train", "sft_test"), ("sft_test", "sft_train"), ("pref_train", "pref_test"), ("pref_test", "pref_train"), ("heldout", "pref_train"))
    ),
    ("prompts", "one cluster", every("prompts", cluster_id=lambda row: row["split"]), {"cluster_share"}),
    ("prompts", "role tags", said(lambda row: True, lambda row: f"{row['prompt']}\n\nHuman: and then?"), {"role_tag_share"}),
    ("prompts", "single words", said(lambda row: True, lambda row: "word" + row["prompt_id"]), {"one_word_share"}),
]  # fmt: skip

INSTRUCTION_CASES: list[Case] = [
    ("instructions", "few rows", without("instructions", lambda row: row["split"] == "train" and row["instruction_id"] > "i010"), {COUNT, "n_train"}),
    ("instructions", "no training rows", every("instructions", split="test"), {"n_train"}),
    ("instructions", "no test rows", every("instructions", split="train"), {"n_test"}),
    ("instructions", "an id twice", twice("instructions", prompt="Describe yet another thing", turns=structs((Turn("user", "Describe yet another thing"),))), {"instruction_id"}),
    ("instructions", "a row twice", twice("instructions"), {"instruction_id", "n_same_prompt"}),
    ("instructions", "not sorted", backwards("instructions"), {"n_unsorted"}),
    ("instructions", "a blank prompt", edit("instructions", 0, prompt=" ", turns=structs((Turn("user", " "),))), {"prompt_blank"}),
    ("instructions", "a blank response", edit("instructions", 0, response=" "), {"response_blank"}),
    ("instructions", "an endless response", edit("instructions", 0, response=" ".join(f"word{n}" for n in range(400))), {"n_chars"}),
    ("instructions", "another prompt than the last turn", edit("instructions", 0, prompt="Quite another task"), {"not_last_turn"}),
    ("instructions", "an echo", edit("instructions", 0, response=lambda row: row["prompt"]), {"echo"}),
    ("instructions", "a prompt in two splits", edit("instructions", 1, prompt="Describe one apple attic desert 0", turns=structs((Turn("user", "Describe one apple attic desert 0"),))), {"n_same_prompt"}),
    ("instructions", "an evaluation prompt", edit("instructions", 0, prompt="Compose for an evaluation apple attic desert 0", turns=structs((Turn("user", "Compose for an evaluation apple attic desert 0"),))), {"evaluation_similarity"}),
    ("instructions", "an evaluation prompt's second turn", edit("instructions", 0, prompt="Now shorten it apple attic desert 0", turns=structs((Turn("user", "Now shorten it apple attic desert 0"),))), {"evaluation_similarity"}),
    ("instructions", "a held-out prompt", _held_out(lambda said: said), {"heldout_similarity"}),
    ("instructions", "a held-out prompt inside a longer task", _held_out(lambda said: f"Before you do anything else: {said} And keep it short."), {"heldout_similarity"}),
    ("instructions", "one response for all", every("instructions", response="It depends."), {"same_text_share"}),
    ("instructions", "near repeats", every("instructions", response=lambda row: f"{row['response']} {LOOP * 4}"), {"near_repeat_share"}),
]  # fmt: skip

EVALUATION_CASES: list[Case] = [
    ("evaluation_prompts", "a row short", without("evaluation_prompts", 0), {COUNT}),
    ("evaluation_prompts", "an id twice", twice("evaluation_prompts", item_id="99", turns_text=["Compose yet another thing", "Now shorten it again"]), {"prompt_id"}),
    ("evaluation_prompts", "a row twice", twice("evaluation_prompts"), {"prompt_id", "n_same_item", "n_same_prompt"}),
    ("evaluation_prompts", "not sorted", backwards("evaluation_prompts"), {"n_unsorted"}),
    ("evaluation_prompts", "one set", every("evaluation_prompts", set="mtbench", turns_text=lambda row: (row["turns_text"] * 2)[:2]), {"n_sets"}),
    ("evaluation_prompts", "no set", edit("evaluation_prompts", 20, set=" "), {"no_set"}),
    ("evaluation_prompts", "no item", edit("evaluation_prompts", 0, item_id=" "), {"no_item"}),
    ("evaluation_prompts", "an item twice", edit("evaluation_prompts", 1, item_id="0"), {"n_same_item"}),
    ("evaluation_prompts", "a prompt twice", edit("evaluation_prompts", 21, turns_text=["Compose for an evaluation engine garage pillow 20"]), {"n_same_prompt"}),
    ("evaluation_prompts", "no turn", edit("evaluation_prompts", 20, turns_text=[]), {"no_turn"}),
    ("evaluation_prompts", "a blank turn", edit("evaluation_prompts", 0, turns_text=["Compose something", "  "]), {"blank_turn"}),
    ("evaluation_prompts", "an endless turn", edit("evaluation_prompts", 20, turns_text=["x" * 2001]), {"n_chars"}),
    ("evaluation_prompts", "one turn of MT-Bench", edit("evaluation_prompts", 0, turns_text=["Compose something"]), {"mtbench_turns"}),
    ("evaluation_prompts", "a stray reference", edit("evaluation_prompts", 20, reference=["one", "two"]), {"stray_reference"}),
    ("evaluation_prompts", "a strange temperature", edit("evaluation_prompts", 0, temperature=7.0), {"strange_temperature"}),
    ("evaluation_prompts", "temperature NaN", edit("evaluation_prompts", 0, temperature=float("nan")), {"strange_temperature", "n_not_finite"}),
]  # fmt: skip

RESPONSE_CASES: list[Case] = [
    ("responses", "few rows", both(without("responses", lambda row: row["split"] == "sft_train"), without("prompts", lambda row: row["split"] == "sft_train")), {COUNT}),
    ("responses", "a row twice", twice("responses"), {"prompt_id"}),
    ("responses", "not sorted", backwards("responses"), {"n_unsorted"}),
    ("responses", "an unknown prompt", without("prompts", lambda row: row["split"] == "sft_test"), {"unknown"}),
    ("responses", "swapped columns", _swapped("responses", "prompt", "response"), {"unlike_prompt"}),
    ("responses", "another context", edit("responses", 0, turns=structs((Turn("user", "hi"),))), {"unlike_prompt"}),
    ("responses", "a prompt without response", without("responses", 0), {"n_prompts_without_row"}),
    *_generated("responses", "response"),
    *_flawed("responses", "response"),
]  # fmt: skip

CRITIQUE_CASES: list[Case] = [
    ("critiques", "few rows", both(without("critiques", lambda row: row["round"] == 2), without("critiques", lambda row: _half(row)), without("responses", lambda row: _half(row))), {COUNT}),
    ("critiques", "a row twice", twice("critiques"), {"prompt_id+round"}),
    ("critiques", "not sorted", backwards("critiques"), {"n_unsorted"}),
    ("critiques", "a round too many", every("critiques", round=lambda row: 9 if row["round"] == 2 else 1), {"round"}),
    ("critiques", "an unknown prompt", without("responses", 0), {"unknown"}),
    ("critiques", "no principle", edit("critiques", 0, principle_id=" "), {"no_principle"}),
    ("critiques", "a response without critique", without("critiques", lambda row: row["prompt_id"] < "1"), {"n_responses_without_critique"}),
    ("critiques", "a round lost", without("critiques", 1), {"n_without_all_rounds"}),
    ("critiques", "some disabled", edit("critiques", 0, **{**_failed("critique"), "error": "disabled"}), {"n_disabled_among_others"}),
    ("critiques", "one principle", every("critiques", principle_id="p1"), {"n_principles"}),
    ("critiques", "uneven principles", edit("critiques", lambda row: row["prompt_id"] > "2", principle_id="p1"), {"top_principle_ratio"}),
    *_generated("critiques", "critique"),
    *_flawed("critiques", "critique"),
]  # fmt: skip


def _second_response(made: Tables) -> None:
    edit(
        "revisions",
        lambda row: row["round"] == 2 and row["prompt_id"] == made["revisions"]["prompt_id"][0],
        response="Something else.",
    )(made)


def _first_response(made: Tables) -> None:
    edit("revisions", 0, response="Something else.")(made)


def _relink(text: Callable[[dict[str, Any]], Any]) -> Fault:
    """Other revisions, with the chain between rounds kept whole."""

    def fault(made: Tables) -> None:
        rows = made["revisions"].to_dicts()
        before: dict[tuple[str, int], Any] = {}
        for row in rows:
            if row["round"] > 1:
                row["response"] = before[row["prompt_id"], row["round"] - 1]
            row["revision"] = text(row)
            before[row["prompt_id"], row["round"]] = row["revision"]
        made["revisions"] = pl.DataFrame(rows, schema=made["revisions"].schema, orient="row")

    return fault


def _chained(cases: list[Case]) -> list[Case]:
    """The same faults with round 2 revising what round 1 left."""

    def relinked(fault: Fault) -> Fault:
        def whole(made: Tables) -> None:
            fault(made)
            left = {(row["prompt_id"], row["round"] + 1): row["revision"] for row in made["revisions"].to_dicts()}
            edit("revisions", lambda row: row["round"] > 1, response=lambda row: left[row["prompt_id"], row["round"]])(
                made
            )

        return whole

    return [(name, label, relinked(fault), expected) for name, label, fault, expected in cases]


REVISION_CASES: list[Case] = [
    ("revisions", "few rows", both(*(without(name, lambda row: row["prompt_id"] > "3") for name in ("revisions", "critiques", "responses"))), {COUNT}),
    ("revisions", "a row twice", twice("revisions"), {"prompt_id+round"}),
    ("revisions", "not sorted", backwards("revisions"), {"n_unsorted"}),
    ("revisions", "a round too many", both(*(every(name, round=lambda row: row["round"] + 3) for name in ("revisions", "critiques"))), {"round", "n_broken_chains"}),
    ("revisions", "a round 0", both(*(both(without(name, lambda row: row["round"] == 2), every(name, round=lambda row: int(row["prompt_id"] > "1"))) for name in ("revisions", "critiques"))), {"round"}),
    ("revisions", "an unknown prompt", without("responses", 0), {"unknown"}),
    ("revisions", "another prompt", edit("revisions", 0, prompt="Quite another question?"), {"unlike_prompt"}),
    ("revisions", "no principle", edit("revisions", 0, principle_id=" "), {"no_principle"}),
    ("revisions", "another critique", edit("revisions", 0, critique="Fine."), {"other_critique"}),
    ("revisions", "another response", _first_response, {"other_response"}),
    ("revisions", "a broken chain", _second_response, {"n_broken_chains"}),
    ("revisions", "a prompt lost", both(without("revisions", lambda row: row["prompt_id"] < "1"), without("critiques", lambda row: row["prompt_id"] < "1")), {"n_responses_without_revision"}),
    ("revisions", "a round lost", without("revisions", 1), {"n_critiques_without_revision"}),
    ("revisions", "one principle", every("revisions", principle_id="p1"), {"n_principles"}),
    ("revisions", "uneven principles", edit("revisions", lambda row: row["prompt_id"] > "2", principle_id="p1"), {"top_principle_ratio"}),
    ("revisions", "emoji", _relink(lambda row: f"{row['revision']} 😀"), {"emoji_share"}),
    ("revisions", "copies of the response", _relink(lambda row: row["response"]), {"copied_share"}),
    *_chained([*_generated("revisions", "revision"), *_flawed("revisions", "revision")]),
]  # fmt: skip

CLEANED_CASES: list[Case] = [
    ("cleaned", "few rows", both(*(without(name, lambda row: row["prompt_id"] > "3") for name in ("cleaned", "revisions", "dropped"))), {COUNT}),
    ("cleaned", "a row twice", twice("cleaned"), {"prompt_id+round"}),
    ("cleaned", "not sorted", backwards("cleaned"), {"n_unsorted"}),
    ("cleaned", "an unknown row", edit("cleaned", 0, round=0), {"unknown", "n_revisions_lost"}),
    ("cleaned", "a row too many", both(twice("cleaned", round=9), resorted("cleaned")), {"unknown"}),
    ("cleaned", "one text without words", edit("cleaned", lambda row: int(row["prompt_id"][-1], 16) < 8, revision="?! ?! ?! ?!"), {"same_text_share"}),
    ("cleaned", "swapped columns", _swapped("cleaned", "prompt", "critique"), {"unlike_revision"}),
    ("cleaned", "kept and dropped", both(edit("dropped", 0, prompt_id="x"), lambda made: edit("dropped", 0, prompt_id=made["cleaned"]["prompt_id"][0], round=1)(made), lambda made: without("revisions", lambda row: (row["prompt_id"], row["round"]) not in set(made["cleaned"].select("prompt_id", "round").rows()))(made)), {"n_also_dropped"}),
    ("cleaned", "a row lost", without("cleaned", 0), {"n_revisions_lost"}),
    ("cleaned", "a blank text", _clean_text("         "), {"blank"}),
    ("cleaned", "a near-empty text", _clean_text("No."), {"n_chars"}),
    ("cleaned", "a failed row", edit("cleaned", 0, finish_reason="error"), {"failed"}),
    ("cleaned", "wrongly marked as cut", edit("cleaned", 0, cut=True), {"wrongly_cut"}),
    ("cleaned", "a copied response", both(*(edit(name, 0, response=PLAIN) for name in ("cleaned", "revisions")), edit("cleaned", 0, revision=PLAIN)), {"copies_response"}),
    ("cleaned", "a copied critique", edit("cleaned", 0, revision=lambda row: row["critique"]), {"copies_critique"}),
    ("cleaned", "emoji tails", _clean_text("Gladly, let us consider it. 😀😀😀😀😀😀"), {"emoji_run"}),
    ("cleaned", "emoticon tails", _clean_text("Gladly, let us consider it. :) :) :) :) :) :)"), {"emoji_run"}),
    ("cleaned", "a role tag", _clean_text("Gladly.\n\nHuman: And then?\n\nAssistant: Then we stop."), {"role_tag"}),
    ("cleaned", "a template token", _clean_text("Gladly, let us consider it.<|im_end|>"), {"role_tag"}),
    ("cleaned", "a preamble", _clean_text("Here's a revised version:\n\nGladly, let us consider it."), {"preamble"}),
    ("cleaned", "a sentence three times", _clean_text("We can look at it. It is fine. We can look at it. So it is. We can look at it."), {"n_same_sentence"}),
    ("cleaned", "most dropped", both(lambda made: made.update(cleaned=made["cleaned"].head(17)), lambda made: made.update(dropped=pl.concat([made["dropped"], made["revisions"].join(made["cleaned"], on=["prompt_id", "round"], how="anti").join(made["dropped"], on=["prompt_id", "round"], how="anti").select("prompt_id", "round", pl.lit("r").alias("reason"), pl.lit("r").alias("rule"), "revision")]))), {"kept_share"}),
    ("cleaned", "near repeats", every("cleaned", revision=lambda row: f"{NEAR} {row['revision']}"), {"near_repeat_share"}),
    ("cleaned", "meta talk", every("cleaned", revision=lambda row: f"Well, the assistant's response was fine. {row['revision']}"), {"meta_talk_share"}),
    ("cleaned", "cut tails", every("cleaned", revision=lambda row: f"{row['revision']} And also {row['prompt_id']} the"), {"unfinished_share"}),
    ("cleaned", "one text for all", every("cleaned", revision="I am sorry, I will not."), {"same_text_share", "shared_closing_share", "distinct_closings_share"}),
    ("cleaned", "one closing for half", edit("cleaned", lambda row: int(row["prompt_id"][-1], 16) < 7, revision=lambda row: f"{row['revision']} Stay safe out there."), {"shared_closing_share"}),
    ("cleaned", "few closings", every("cleaned", revision=lambda row: f"{row['revision']} Bye, number {'abcdef'[int(row['prompt_id'][-1], 16) % 6]}."), {"distinct_closings_share"}),
]  # fmt: skip


def _drop_many(n: int, reasons: int) -> Fault:
    def fault(made: Tables) -> None:
        gone = made["cleaned"].head(n).select("prompt_id", "round")
        made["cleaned"] = made["cleaned"].slice(n)
        more = made["revisions"].join(gone, on=["prompt_id", "round"], how="semi").with_row_index("n")
        more = more.select(
            "prompt_id",
            "round",
            pl.format("r{}", pl.col("n") % reasons).alias("reason"),
            pl.lit("r").alias("rule"),
            "revision",
        )
        made["dropped"] = pl.concat([made["dropped"], more]).sort("prompt_id", "round")

    return fault


def _move_dropped(**values: Any) -> Fault:
    return edit("dropped", 0, **values)


DROPPED_CASES: list[Case] = [
    ("dropped", "a row twice", twice("dropped"), {"prompt_id+round"}),
    ("dropped", "not sorted", both(_drop_many(4, 4), backwards("dropped")), {"n_unsorted"}),
    ("dropped", "more than revisions", lambda made: made.update(dropped=pl.concat([made["dropped"]] * 60)), {COUNT, "prompt_id+round", "dropped_share", "one_reason_share"}),
    ("dropped", "an unknown row", both(edit("dropped", 0, round=7), lambda made: without("revisions", lambda row: (row["prompt_id"], row["round"]) not in set(made["cleaned"].select("prompt_id", "round").rows()))(made)), {"unknown"}),
    ("dropped", "another text", edit("dropped", 0, revision="Something else."), {"other_text"}),
    ("dropped", "no reason", both(_drop_many(4, 4), edit("dropped", 0, reason=" ")), {"no_reason"}),
    ("dropped", "no rule", both(_drop_many(4, 4), edit("dropped", 0, rule="")), {"no_rule"}),
    ("dropped", "also kept", lambda made: made.update(cleaned=pl.concat([made["cleaned"], made["cleaned"].head(1).with_columns(made["dropped"]["prompt_id"], made["dropped"]["round"])])), {"n_also_kept"}),
    ("dropped", "empty frame", _empty("dropped"), {"n_revisions_lost"}),
    ("dropped", "most dropped", _drop_many(40, 6), {"dropped_share"}),
    ("dropped", "for one reason", _drop_many(24, 1), {"one_reason_share"}),
]  # fmt: skip


def _many_edits(n: int) -> Fault:
    """As many edits of one row, one after the other, that all fit."""

    def fault(made: Tables) -> None:
        first = made["edits"].to_dicts()[0]
        name, round_ = first["prompt_id"], first["round"]

        def same(row: dict[str, Any]) -> bool:
            return (row["prompt_id"], row["round"]) == (name, round_)

        kept = next(row["revision"] for row in made["cleaned"].to_dicts() if same(row))
        edit("revisions", same, revision=kept + " y" * n)(made)
        span = {"start": len(kept), "end": len(kept) + 2, "removed": " y"}
        rows = [{**first, **span, "step": step} for step in range(n)]
        made["edits"] = pl.DataFrame(rows, schema=made["edits"].schema, orient="row")

    return fault


EDIT_CASES: list[Case] = [
    ("edits", "a row twice", twice("edits"), {"prompt_id+round+step"}),
    ("edits", "not sorted", backwards("edits"), {"n_unsorted"}),
    ("edits", "endless steps", _many_edits(60), {"step"}),
    ("edits", "a step missing", edit("edits", 1, step=2), {"step_missing"}),
    ("edits", "edits of a row that was not kept", lambda made: without("cleaned", lambda row: (row["prompt_id"], row["round"]) == made["edits"].select("prompt_id", "round").row(0))(made), {"unknown"}),
    ("edits", "no rule", edit("edits", 0, rule=" "), {"no_rule"}),
    ("edits", "a span that does not fit", edit("edits", 0, end=lambda row: row["end"] + 3), {"wrong_span"}),
    ("edits", "an edit that changes nothing", both(twice("edits", step=2, removed="", inserted="", end=lambda row: row["start"]), resorted("edits")), {"changes_nothing"}),
    ("edits", "another text removed", edit("edits", 0, removed=" Bye you."), {"not_replayed"}),
    ("edits", "a change without an edit", edit("cleaned", 0, revision="Something else."), {"n_changed_without_edit"}),
    ("edits", "empty frame", _empty("edits"), {"n_changed_without_edit"}),
]  # fmt: skip


def _asked_of(status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["status"] == status


ASKED_CASES: list[Case] = [
    ("asked", "a row twice", twice("asked"), {"prompt_id+round"}),
    ("asked", "not sorted", backwards("asked"), {"n_unsorted"}),
    ("asked", "more than revisions", lambda made: made.update(asked=pl.concat([made["asked"]] * 3).sort("prompt_id", "round")), {COUNT, "prompt_id+round"}),
    ("asked", "an unknown row", both(twice("asked", round=9, status="nothing_to_delete", reason=None, tries=1), resorted("asked")), {"unknown"}),
    ("asked", "endless tries", edit("asked", _asked_of("rejected"), tries=99), {"tries"}),
    ("asked", "tries where nobody asked", edit("asked", _asked_of("not_asked"), tries=2), {"strange_tries"}),
    ("asked", "rejected without reason", edit("asked", _asked_of("rejected"), reason=" "), {"unexplained"}),
    ("asked", "a reason to an edit", edit("asked", _asked_of("edited"), reason="over_budget"), {"unexplained"}),
    ("asked", "a probability of 1.2", edit("asked", 0, answers=1.2), {"strange_probability"}),
    ("asked", "a probability NaN", edit("asked", 0, answers=float("nan")), {"strange_probability", "n_not_finite"}),
    ("asked", "empty frame", _empty("asked"), {"n_editor_edits_unasked"}),
    ("asked", "an edit nobody asked for", without("asked", _asked_of("edited")), {"n_editor_edits_unasked"}),
    ("asked", "dropped and kept", edit("asked", _asked_of("nothing_to_delete"), status="dropped", reason="near_empty"), {"n_dropped_yet_kept"}),
    ("asked", "the editor fails", edit("asked", _asked_of("nothing_to_delete"), status="failed", reason="server gone"), {"failed_share"}),
    ("asked", "all rejected", edit("asked", _asked_of("nothing_to_delete"), status="rejected", reason="unparsed"), {"rejected_share"}),
]  # fmt: skip

SAMPLE_CASES: list[Case] = [
    ("samples", "few rows", both(without("samples", lambda row: row["prompt_id"] > "2"), without("prompts", lambda row: row["prompt_id"] > "2")), {COUNT}),
    ("samples", "a row twice", twice("samples"), {"prompt_id+draw"}),
    ("samples", "not sorted", backwards("samples"), {"n_unsorted"}),
    ("samples", "an unknown prompt", without("prompts", lambda row: row["split"] == "pref_test"), {"unknown"}),
    ("samples", "another prompt", edit("samples", 0, prompt="Quite another question?"), {"unlike_prompt"}),
    ("samples", "three draws", both(twice("samples", draw=2), resorted("samples")), {"strange_draw"}),
    ("samples", "one text for every first draw", edit("samples", lambda row: row["draw"] == 0, response="?! ?! ?! ?!"), {"same_text_share"}),
    ("samples", "a third draw", edit("samples", 1, draw=2), {"strange_draw", "n_without_both_draws"}),
    ("samples", "a prompt lost", without("samples", lambda row: row["split"] == "pref_test"), {"n_prompts_without_row"}),
    ("samples", "a draw lost", without("samples", 0), {"n_without_both_draws"}),
    ("samples", "equal draws", every("samples", response=lambda row: f"A view on {row['prompt']}."), {"identical_pair_share"}),
    *(
        (name, label, fault, expected | {"identical_pair_share"} if label in ("one text for all", "one text for many") else expected)
        for name, label, fault, expected in [*_generated("samples", "response"), *_flawed("samples", "response")]
    ),
]  # fmt: skip


def _status(status: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(("p_first", "p_second", "p", "flip", "label_mass_first", "label_mass_second")),
        "status": status,
        "reason": status,
    }


VERDICT_CASES: list[Case] = [
    ("verdicts", "few rows", both(without("verdicts", lambda row: row["prompt_id"] > "2"), without("samples", lambda row: row["prompt_id"] > "2")), {COUNT}),
    ("verdicts", "a row twice", twice("verdicts"), {"prompt_id"}),
    ("verdicts", "not sorted", backwards("verdicts"), {"n_unsorted"}),
    ("verdicts", "an unknown pair", without("samples", lambda row: row["prompt_id"] < "1"), {"unknown"}),
    ("verdicts", "a pair lost", without("verdicts", 0), {"n_samples_without_verdict"}),
    ("verdicts", "swapped columns", _swapped("verdicts", "response_a", "response_b"), {"other_texts"}),
    ("verdicts", "no principle", edit("verdicts", 0, principle_id=""), {"no_principle"}),
    ("verdicts", "no judge", edit("verdicts", 0, judge=" "), {"no_judge"}),
    ("verdicts", "two judges", edit("verdicts", 0, judge="j2"), {"n_judges"}),
    ("verdicts", "a probability of 1.2", edit("verdicts", 0, label_mass_first=1.2), {"strange_probability"}),
    ("verdicts", "a probability NaN", edit("verdicts", 0, label_mass_second=float("nan")), {"strange_probability", "n_not_finite"}),
    ("verdicts", "ok without p", edit("verdicts", 0, p=None), {"ok_without_p"}),
    ("verdicts", "p is no mean", edit("verdicts", 0, p=0.99), {"p_is_no_mean"}),
    ("verdicts", "a wrong flip", edit("verdicts", 0, flip=True), {"wrong_flip"}),
    ("verdicts", "ok without preference", edit("verdicts", 0, p=0.5, p_first=0.5, p_second=0.5), {"ok_without_preference"}),
    ("verdicts", "a tie without reason", edit("verdicts", lambda row: row["status"] == "tie", reason=None), {"unexplained"}),
    ("verdicts", "errors", edit("verdicts", _half, **_status("error")), {"error_share"}),
    ("verdicts", "unparsed", edit("verdicts", _half, **_status("unparsed")), {"unparsed_share"}),
    ("verdicts", "refused", edit("verdicts", _half, **_status("refused")), {"refused_share"}),
    ("verdicts", "ties", edit("verdicts", lambda row: True, status="tie", reason="within the tie margin"), {"tie_share"}),
    ("verdicts", "flips", every("verdicts", p_first=lambda row: 0.9 if row["p"] > 0.5 else 0.4, p_second=lambda row: 0.3 if row["p"] > 0.5 else 0.55, flip=True, p=lambda row: 0.6 if row["p"] > 0.5 else 0.475, status="ok", reason=None), {"flip_share"}),
    ("verdicts", "a mild position bias", edit("verdicts", lambda row: int(row["prompt_id"][-1], 16) < 9, p_first=0.9, p_second=lambda row: 0.2 if row["p"] > 0.5 else 0.05, flip=True, status="ok", reason=None, p=lambda row: 0.55 if row["p"] > 0.5 else 0.475), {"first_shown_wins_share"}),
    ("verdicts", "position bias", edit("verdicts", lambda row: True, p_first=0.9, p_second=lambda row: 0.2 if int(row["prompt_id"][0], 16) % 2 else 0.05, p=lambda row: 0.55 if int(row["prompt_id"][0], 16) % 2 else 0.475, flip=True, status="ok", reason=None), {"first_shown_wins_share", "flip_share"}),
    ("verdicts", "always a", every("verdicts", p_first=0.7, p_second=0.8, p=0.75, flip=False, status="ok", reason=None), {"a_wins_share"}),
    ("verdicts", "low label mass", every("verdicts", label_mass_first=0.01), {"low_label_mass_share"}),
    ("verdicts", "one principle", every("verdicts", principle_id="p1"), {"n_principles"}),
    ("verdicts", "uneven principles", edit("verdicts", lambda row: row["prompt_id"] > "3", principle_id="p1"), {"top_principle_ratio"}),
]  # fmt: skip


def _prompt_of(made: Tables, place: int) -> Any:
    return made["preferences"]["prompt_id"][place]


def _shared_cluster(split: str) -> Fault:
    def fault(made: Tables) -> None:
        first = made["preferences"].filter(pl.col("split") == "train")["prompt_id"][0]
        other = made["prompts"].filter(pl.col("split") == split)["prompt_id"][0]
        if split == "pref_test":
            other = made["preferences"].filter(pl.col("split") == "test")["prompt_id"][0]
        edit("prompts", lambda row: row["prompt_id"] in (first, other), cluster_id="shared")(made)

    return fault


def _longer_wins(made: Tables) -> None:
    rows = made["preferences"].to_dicts()
    verdicts = {row["prompt_id"]: row for row in made["verdicts"].to_dicts()}
    for row in rows:
        row["chosen"] = row["chosen"].strip() + " indeed indeed indeed"
        verdicts[row["prompt_id"]]["response_a" if row["chosen_draw"] == 0 else "response_b"] = row["chosen"]
    made["preferences"] = pl.DataFrame(rows, schema=made["preferences"].schema, orient="row")
    made["verdicts"] = pl.DataFrame(list(verdicts.values()), schema=made["verdicts"].schema, orient="row")


def _first_always(made: Tables) -> None:
    every("verdicts", p=lambda row: max(row["p"], 1 - row["p"]))(made)
    texts = {row["prompt_id"]: row for row in made["verdicts"].to_dicts()}
    every(
        "preferences",
        chosen=lambda row: texts[row["prompt_id"]]["response_a"],
        rejected=lambda row: texts[row["prompt_id"]]["response_b"],
        chosen_draw=0,
    )(made)


def _texts(side: str, words: str | Callable[[dict[str, Any]], str], place: Any) -> Fault:
    """Other texts in preferences and in the verdicts they come from."""

    def fault(made: Tables) -> None:
        edit("preferences", place, **{side: words})(made)
        now = {row["prompt_id"]: row for row in made["preferences"].to_dicts()}

        def text(row: dict[str, Any], draw: int) -> str:
            kept = now[row["prompt_id"]]
            return str(kept["chosen"] if kept["chosen_draw"] == draw else kept["rejected"])

        edit(
            "verdicts",
            lambda row: row["prompt_id"] in now,
            response_a=lambda row: text(row, 0),
            response_b=lambda row: text(row, 1),
        )(made)

    return fault


def _few_train(made: Tables) -> None:
    train = made["preferences"].filter(pl.col("split") == "train")["prompt_id"][7:].to_list()
    without("preferences", lambda row: row["prompt_id"] in train)(made)
    without("verdicts", lambda row: row["prompt_id"] in train)(made)


PREFERENCE_CASES: list[Case] = [
    ("preferences", "few rows", both(without("preferences", lambda row: row["split"] == "train"), lambda made: without("verdicts", lambda row: row["prompt_id"] not in set(made["preferences"]["prompt_id"]) | set(made["excluded"]["prompt_id"]))(made)), {COUNT, "n_train"}),
    ("preferences", "few training rows", _few_train, {"n_train"}),
    ("preferences", "no test rows", both(without("preferences", lambda row: row["split"] == "test"), lambda made: without("verdicts", lambda row: row["prompt_id"] not in set(made["preferences"]["prompt_id"]) | set(made["excluded"]["prompt_id"]))(made)), {"n_test"}),
    ("preferences", "a row twice", twice("preferences"), {"prompt_id"}),
    ("preferences", "not sorted", backwards("preferences"), {"n_unsorted"}),
    ("preferences", "an unknown prompt", lambda made: without("prompts", lambda row: row["prompt_id"] == _prompt_of(made, 0))(made), {"unknown"}),
    ("preferences", "another prompt", edit("preferences", 0, prompt="Quite another question?"), {"unlike_prompt"}),
    ("preferences", "another split", edit("preferences", 0, split=lambda row: "test" if row["split"] == "train" else "train"), {"other_split"}),
    ("preferences", "a pair that tied", lambda made: edit("verdicts", lambda row: row["prompt_id"] == _prompt_of(made, 0), status="tie")(made), {"not_judged"}),
    ("preferences", "chosen and rejected swapped", _swapped("preferences", "chosen", "rejected"), {"other_texts"}),
    ("preferences", "another p", edit("preferences", 0, p_chosen=0.97), {"other_p"}),
    ("preferences", "also excluded", lambda made: made.update(excluded=pl.concat([made["excluded"], pl.DataFrame({"prompt_id": [_prompt_of(made, 0)], "reason": ["tie"]})])), {"n_also_excluded"}),
    ("preferences", "a verdict lost", without("preferences", 0), {"n_verdicts_lost"}),
    ("preferences", "a cluster of sft", _shared_cluster("sft_train"), {"n_in_other_clusters"}),
    ("preferences", "a cluster in train and test", _shared_cluster("pref_test"), {"n_in_train_and_test"}),
    ("preferences", "a blank chosen", _texts("chosen", "  ", 0), {"chosen_blank"}),
    ("preferences", "a blank rejected", _texts("rejected", "  ", 0), {"rejected_blank"}),
    ("preferences", "an endless chosen", _texts("chosen", " ".join(f"word{n}" for n in range(400)), 0), {"n_chars"}),
    ("preferences", "chosen equals rejected", _texts("chosen", lambda row: row["rejected"] + " ", 0), {"same_text"}),
    ("preferences", "p of one half", both(edit("preferences", 0, p_chosen=0.5), lambda made: edit("verdicts", lambda row: row["prompt_id"] == _prompt_of(made, 0), p=0.5)(made)), {"p_out_of_range"}),
    ("preferences", "p NaN", edit("preferences", 0, p_chosen=float("nan")), {"p_out_of_range", "n_not_finite"}),
    ("preferences", "a third draw", edit("preferences", lambda row: row["chosen_draw"] == 1, chosen_draw=2), {"strange_draw"}),
    ("preferences", "always the first draw", _first_always, {"first_draw_chosen_share"}),
    ("preferences", "the longer one wins", _longer_wins, {"length_only_share"}),
    ("preferences", "one response chosen", _texts("chosen", "I am sorry, but I will not help you with my view on that at all here.", lambda row: int(row["prompt_id"][1], 16) % 2 == 0), {"same_chosen_share"}),
]  # fmt: skip

EXCLUDED_CASES: list[Case] = [
    ("excluded", "more than verdicts", lambda made: made.update(excluded=pl.concat([made["excluded"]] * 40).sort("prompt_id")), {COUNT, "prompt_id", "excluded_share"}),
    ("excluded", "a row twice", twice("excluded"), {"prompt_id"}),
    ("excluded", "not sorted", backwards("excluded"), {"n_unsorted"}),
    ("excluded", "an unknown pair", both(lambda made: made.update(verdicts=made["verdicts"].filter(pl.col("prompt_id") != made["excluded"]["prompt_id"][0]))), {"unknown"}),
    ("excluded", "no reason", edit("excluded", 0, reason=" "), {"no_reason"}),
    ("excluded", "another reason", edit("excluded", 0, reason="refused"), {"other_reason"}),
    ("excluded", "also preferred", lambda made: made.update(preferences=pl.concat([made["preferences"], made["preferences"].head(1).with_columns(prompt_id=pl.lit(made["excluded"]["prompt_id"][0]))])), {"n_also_preferred"}),
    ("excluded", "empty frame", _empty("excluded"), {"n_verdicts_lost"}),
    ("excluded", "most excluded", lambda made: made.update(excluded=pl.concat([made["excluded"], made["preferences"].head(24).select("prompt_id", pl.lit("extreme length").alias("reason"))]).sort("prompt_id"), preferences=made["preferences"].slice(24)), {"excluded_share"}),
]  # fmt: skip

HUMAN_CASES: list[Case] = [
    ("human_pairs", "an id twice", edit("human_pairs", 1, pair_id="human/000"), {"pair_id"}),
    ("human_pairs", "not sorted", backwards("human_pairs"), {"n_unsorted"}),
    ("human_pairs", "a row short", without("human_pairs", 0), {"n_pairs_unaccounted"}),
    ("human_pairs", "empty frame", _empty("human_pairs"), {"n_pairs_unaccounted"}),
    ("human_pairs", "a blank prompt", edit("human_pairs", 0, prompt=" ", turns=structs((Turn("user", " "),))), {"prompt_blank"}),
    ("human_pairs", "another prompt than the last turn", edit("human_pairs", 0, prompt="Quite another question"), {"not_last_turn"}),
    ("human_pairs", "a context that ends with an answer", edit("human_pairs", 0, turns=lambda row: [{**row["turns"][0], "role": "assistant"}]), {"not_last_turn"}),
    ("human_pairs", "chosen is blank", edit("human_pairs", 0, chosen=" "), {"chosen_blank"}),
    ("human_pairs", "rejected is blank", edit("human_pairs", 0, rejected=" "), {"rejected_blank"}),
    ("human_pairs", "an endless response", edit("human_pairs", 0, rejected=" ".join(f"word{n}" for n in range(400))), {"n_chars"}),
    ("human_pairs", "chosen is rejected", edit("human_pairs", 0, rejected=lambda row: row["chosen"]), {"same_text"}),
    ("human_pairs", "an evaluation prompt", _human_asked(lambda made: "Compose for an evaluation apple attic desert 0"), {"evaluation_similarity"}),
    ("human_pairs", "a held-out prompt", _human_asked(_first_held_out), {"heldout_similarity"}),
    ("human_pairs", "the longer one is always chosen", every("human_pairs", chosen=lambda row: f"{row['rejected']} And why? Look at {row['pair_id']}."), {"length_only_share"}),
    ("human_pairs", "one response is always chosen", every("human_pairs", chosen="Take the one in the middle.", rejected=lambda row: f"No {row['pair_id']}." + " And so on and on." * (int(row["pair_id"][-3:]) % 2)), {"same_chosen_share"}),
]  # fmt: skip

ANSWER_CASES: list[Case] = [
    ("answers_base", "few rows", both(without("answers_base", lambda row: row["set"] != "heldout" or row["prompt_id"] > "c"), _empty("evaluation_prompts")), {COUNT}),
    ("answers_base", "a row twice", twice("answers_base"), {"prompt_id+turn"}),
    ("answers_base", "not sorted", backwards("answers_base"), {"n_unsorted"}),
    ("answers_base", "an unknown prompt", without("evaluation_prompts", 20), {"unknown"}),
    ("answers_base", "a second turn lost", without("answers_base", lambda row: row["prompt_id"] == "e000" and row["turn"] == 2), {"n_questions_lost"}),
    ("answers_base", "no held-out prompt", without("answers_base", lambda row: row["set"] == "heldout"), {"n_heldout"}),
    ("answers_base", "another set", edit("answers_base", lambda row: row["prompt_id"] == "e000", set="redteam"), {"other_set"}),
    ("answers_base", "another prompt", edit("answers_base", 0, prompt="Quite another question?"), {"other_prompt"}),
    ("answers_base", "tokens miscounted", edit("answers_base", 0, token_ids=[1]), {"miscounted"}),
    ("answers_base", "one text for all", every("answers_base", response="I am sorry, I will not."), {"same_text_share"}),
    *_generated("answers_base", "response"),
]  # fmt: skip

EMPTY_CASES: list[Case] = [
    (name, "empty frame", _empty(name), {COUNT})
    for name in ("evaluation_prompts", "prompts", "instructions", "responses", "critiques", "revisions", "cleaned", "samples", "verdicts", "preferences", "answers_base")
]  # fmt: skip
"""Whatever else fails on an empty frame, its row count does."""

CASES: list[Case] = [
    *PROMPT_CASES,
    *INSTRUCTION_CASES,
    *EVALUATION_CASES,
    *RESPONSE_CASES,
    *CRITIQUE_CASES,
    *REVISION_CASES,
    *CLEANED_CASES,
    *DROPPED_CASES,
    *EDIT_CASES,
    *ASKED_CASES,
    *SAMPLE_CASES,
    *VERDICT_CASES,
    *PREFERENCE_CASES,
    *EXCLUDED_CASES,
    *HUMAN_CASES,
    *ANSWER_CASES,
]


def write_curve(root: Path, losses: Sequence[float | None]) -> None:
    """A curve as training writes it, with a loss a step."""
    from cai.training.callbacks import write_csv  # and torch, which no other fault needs

    rows = [{"step": step, "loss": loss, "grad_norm": 1.0} for step, loss in enumerate(losses, start=1)]
    write_csv(root / "metrics/curves/sft/train.csv", rows)


FALLING = [2.5, 2.4, 2.5, 2.3, 2.3, 2.2, 2.2, 2.1, 2.0, 2.0]
TRAINING: dict[str, Any] = {
    "n_rows": 40,
    "n_eval_rows": 8,
    "dropped": {"cut": 2},
    "n_steps": 10,
    "loss_first": 2.5,
    "loss_last": 2.0,
    "eval_loss_before": 2.6,
    "eval_loss": 2.2,
    "labels_with_stop_share": 1.0,
    "n_uncut_without_stop": 0,
    "mean_completion_tokens": 40.0,
    "n_trained_parameters": 1000,
}
TRAINING_CASES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("few rows", {"n_rows": 4}, {COUNT}),
    ("no rows", {"n_rows": 0}, {COUNT}),
    ("no step", {"n_steps": 0}, {"n_steps"}),
    ("nothing trained", {"n_trained_parameters": 0}, {"n_trained_parameters"}),
    ("a row without stop", {"labels_with_stop_share": 0.975}, {"labels_with_stop_share"}),
    ("a row without stop that was not cut", {"n_uncut_without_stop": 1}, {"n_uncut_without_stop"}),
    ("stop share unknown", {"labels_with_stop_share": None}, {"labels_with_stop_share"}),
    ("a loss absent", {"loss_last": None}, {"n_losses_absent"}),
    ("a loss NaN", {"loss_last": float("nan")}, {"n_losses_not_finite"}),
    ("a held-out loss infinite", {"eval_loss": float("inf")}, {"n_losses_not_finite"}),
    ("rows of two tokens", {"mean_completion_tokens": 2.0}, {"mean_completion_tokens"}),
    ("most rows left out", {"dropped": {"cut": 60}}, {"dropped_share"}),
    ("the loss rose", {"curve": [2.0, 2.1, 2.0, 2.1, 2.0, 2.6, 2.5, 2.6, 2.5, 2.6]}, {"loss_rise"}),
    ("a step NaN", {"curve": [2.5, 2.4, float("nan"), *FALLING[3:]]}, {"n_losses_not_finite"}),
    ("a step without loss", {"curve": [2.5, None, *FALLING[2:]]}, {"n_losses_not_finite"}),
    ("a curve cut short", {"curve": FALLING[:-1]}, {"n_steps_without_loss"}),
    ("the held-out loss rose", {"eval_loss": 3.0}, {"eval_loss_ratio"}),
    ("the guard ended it", {"stopped_at_step": 4}, {"n_stopped"}),
]

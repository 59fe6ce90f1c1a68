"""Steps 2 and 3: self-critique and revision under drawn principles, in 1 to 4 rounds (Bai et al. 2022, section 3).

Round k criticises and revises what round k - 1 left. `critique` therefore has to write the revisions between its
rounds, and `revise` writes them again: the same requests, the same keys, so the backend finds them finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from cai.artifacts.supervised import CRITIQUES, REVISIONS
from cai.constitution import Constitution, Demonstration, Principle, draw
from cai.dialogue import from_structs
from cai.errors import ArtifactError
from cai.llm.model import Completion, Model, Request, Sampling
from cai.method.generated import generated, not_asked
from cai.prompting import critique as ask_critique
from cai.prompting import revision as ask_revision

Form = Literal["chat", "single_turn"]


@dataclass(frozen=True)
class Asking:
    """How critiques and revisions are asked for."""

    critique_form: Form
    critique_demonstrations: int
    revision_form: Form
    revision_demonstrations: int
    principles: Literal["pairs", "independent"]
    critique: bool
    show_critique: bool
    seed: int


def critique_principle(constitution: Constitution, asking: Asking, prompt_id: str, round_: int) -> Principle:
    """The principle drawn for the critique of this prompt in this round."""
    return draw(constitution.critique_revision, asking.seed, "critique", prompt_id, str(round_))


def revision_principle(constitution: Constitution, asking: Asking, prompt_id: str, round_: int) -> Principle:
    """The critique's own partner, or, where principles are independent (the paper), another draw."""
    if asking.principles == "pairs":
        return critique_principle(constitution, asking, prompt_id, round_)
    return draw(constitution.critique_revision, asking.seed, "revise", prompt_id, str(round_))


def demonstrations(constitution: Constitution, n: int, section: str) -> tuple[Demonstration, ...]:
    """The constitution's first n worked chains, which ``section`` of params.yaml asks for.

    Raises:
        ArtifactError: it has fewer.
    """
    there = constitution.demonstrations
    if len(there) < n:
        raise ArtifactError(
            "constitution",
            "has too few demonstrations of critique and revision",
            got=len(there),
            expected=f"{n} ({section}.demonstrations)",
            next_step=f"set {section}.demonstrations to at most {len(there)}, or add some at constitution.path",
        )
    return there[:n]


def criticise(
    responses: pl.DataFrame,
    constitution: Constitution,
    asking: Asking,
    rounds: int,
    model: Model,
    critique_sampling: Sampling,
    revision_sampling: Sampling,
) -> pl.DataFrame:
    """The critiques of all rounds.

    Args:
        responses: columns of RESPONSES.
        constitution: where principles and demonstrations come from.
        asking: form, demonstrations, draw.
        rounds: 1 .. 4.
        model: the model that criticises itself.
        critique_sampling: how critiques are drawn.
        revision_sampling: how the revisions between two rounds are drawn.

    Returns:
        Columns of CRITIQUES, one row a (prompt, round). A row is null with a reason where critique is disabled, and
        where there was no text to criticise.

    Raises:
        ArtifactError: the constitution has fewer demonstrations than are to be shown.
    """
    rows = responses.sort("prompt_id").to_dicts()
    current = {row["prompt_id"]: row["response"] for row in rows}
    found: list[dict[str, object]] = []
    for round_ in range(1, rounds + 1):
        critiques = _critique_round(rows, current, constitution, asking, round_, model, critique_sampling)
        found += critiques
        if round_ < rounds:
            texts = {str(row["prompt_id"]): row["critique"] for row in critiques}
            revised = _revise_round(rows, current, texts, constitution, asking, round_, model, revision_sampling)
            current = {row["prompt_id"]: row["revision"] for row in revised}
    return CRITIQUES.frame(found)


def revise(
    responses: pl.DataFrame,
    critiques: pl.DataFrame,
    constitution: Constitution,
    asking: Asking,
    rounds: int,
    model: Model,
    sampling: Sampling,
) -> pl.DataFrame:
    """The revisions of all rounds, each beside the text and the critique it came from.

    Returns:
        Columns of REVISIONS, one row a (prompt, round).

    Raises:
        ArtifactError: the constitution has fewer demonstrations than are to be shown.
    """
    rows = responses.sort("prompt_id").to_dicts()
    current = {row["prompt_id"]: row["response"] for row in rows}
    found: list[dict[str, object]] = []
    for round_ in range(1, rounds + 1):
        of_round = critiques.filter(pl.col("round") == round_)
        texts = dict(zip(of_round["prompt_id"], of_round["critique"], strict=True))
        revised = _revise_round(rows, current, texts, constitution, asking, round_, model, sampling)
        found += revised
        current = {row["prompt_id"]: row["revision"] for row in revised}
    return REVISIONS.frame(found)


def _critique_round(
    rows: Sequence[dict],
    current: dict,
    constitution: Constitution,
    asking: Asking,
    round_: int,
    model: Model,
    sampling: Sampling,
) -> list[dict[str, object]]:
    requests: dict[str, Request] = {}
    if asking.critique:
        shown = demonstrations(constitution, asking.critique_demonstrations, "critique")
        for row in rows:
            name, response = row["prompt_id"], current[row["prompt_id"]]
            if response is None or not response.strip():
                continue
            context = from_structs(row["turns"])
            principle = critique_principle(constitution, asking, name, round_)
            other = revision_principle(constitution, asking, name, round_)
            dialogue = (
                ask_critique.chat(context, response, principle.critique_request, other.revision_request, shown)
                if asking.critique_form == "chat"
                else ask_critique.single_turn(context, response, principle.critique_request, shown)
            )
            requests[name] = Request(dialogue, sampling, ("critique", name, str(round_), "0"))
    completions = _ask(model, requests)
    absent = "no text to criticise" if asking.critique else "disabled"
    return [
        {
            "prompt_id": row["prompt_id"],
            "round": round_,
            "principle_id": critique_principle(constitution, asking, row["prompt_id"], round_).id,
            "critique": completions[row["prompt_id"]].text if row["prompt_id"] in requests else None,
            **_columns(row["prompt_id"], requests, completions, model, absent),
        }
        for row in rows
    ]


def _revise_round(
    rows: Sequence[dict],
    current: dict,
    critiques: dict,
    constitution: Constitution,
    asking: Asking,
    round_: int,
    model: Model,
    sampling: Sampling,
) -> list[dict[str, object]]:
    requests: dict[str, Request] = {}
    shown = demonstrations(constitution, asking.revision_demonstrations, "revise")
    for row in rows:
        name, response = row["prompt_id"], current[row["prompt_id"]]
        critique = critiques[name] if asking.critique and asking.show_critique else None
        unanswerable = asking.critique and asking.show_critique and not (critique or "").strip()
        if response is None or not response.strip() or unanswerable:
            continue
        context = from_structs(row["turns"])
        principle = critique_principle(constitution, asking, name, round_)
        other = revision_principle(constitution, asking, name, round_)
        dialogue = (
            ask_revision.chat(context, response, principle.critique_request, critique, other.revision_request, shown)
            if asking.revision_form == "chat"
            else ask_revision.single_turn(context, response, critique, other.revision_request, shown)
        )
        requests[name] = Request(dialogue, sampling, ("revise", name, str(round_), "0"))
    completions = _ask(model, requests)
    return [
        {
            **{key: row[key] for key in ("prompt_id", "split", "prompt", "turns")},
            "round": round_,
            "principle_id": revision_principle(constitution, asking, row["prompt_id"], round_).id,
            "response": current[row["prompt_id"]],
            "critique": critiques[row["prompt_id"]],
            "revision": completions[row["prompt_id"]].text if row["prompt_id"] in requests else None,
            **_columns(row["prompt_id"], requests, completions, model, "no response or critique to revise under"),
        }
        for row in rows
    ]


def _ask(model: Model, requests: dict[str, Request]) -> dict[str, Completion]:
    return dict(zip(requests, model.generate(list(requests.values())), strict=True)) if requests else {}


def _columns(
    name: str, requests: dict[str, Request], completions: dict[str, Completion], model: Model, absent: str
) -> dict[str, object]:
    return generated(completions[name], requests[name], model.name) if name in requests else not_asked(absent)

"""The principles and worked examples that a run is held to, from one of three published shapes.

``ours``       one JSON file: critique_revision, comparison, demonstrations
``anthropic``  a folder with the JSON files of anthropics/ConstitutionalHarmlessnessPaper as they are
``llm_swarm``  one JSON file of huggingface/llm-swarm: constitutions [{critic, revision}], system_chat; a ``comparison``
               list like ours may be added, because llm-swarm judges nothing and has none
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from cai.errors import ArtifactError

Spoken = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Principle:
    """One critique/revision pair: what the critique looks for, and how the answer is to be rewritten."""

    id: str
    critique_request: str
    revision_request: str


@dataclass(frozen=True)
class Comparison:
    """One sentence by which two answers are compared."""

    id: str
    principle: str


@dataclass(frozen=True)
class Demonstration:
    """A worked chain. ``earlier`` holds the (role, text) turns before ``prompt``, where there were any.

    ``critique_request`` and ``revision_request`` are the source's own words; None: the drawn principle's are used.
    """

    prompt: str
    response: str
    critique: str
    revision: str
    earlier: Spoken = ()
    critique_request: str | None = None
    revision_request: str | None = None


@dataclass(frozen=True)
class ComparisonDemonstration:
    """A worked comparison. ``principle`` None: the drawn one is used. ``reasoning`` leads to the verdict, aloud."""

    prompt: str
    response_a: str
    response_b: str
    better: Literal["A", "B"]
    principle: str | None = None
    reasoning: str | None = None


@dataclass(frozen=True)
class Constitution:
    """Everything read from one source."""

    critique_revision: tuple[Principle, ...]
    comparison: tuple[Comparison, ...]
    demonstrations: tuple[Demonstration, ...] = ()
    comparison_demonstrations: tuple[ComparisonDemonstration, ...] = ()


class _Named(Protocol):
    @property
    def id(self) -> str: ...


N = TypeVar("N", bound=_Named)


def draw(principles: Sequence[N], seed: int, *key: str) -> N:
    """The principle for a key: the one whose hash with (seed, key) is greatest.

    A function of seed, key and the ids alone: neither other rows nor the order in the file matter, and adding one
    principle to n changes about 1 in n + 1 of the draws. Drawing critique and revision under one key gives a pair,
    under two keys independent draws (Zhang 2025; Bai et al. 2022 draw the pair).

    Raises:
        ArtifactError: there is nothing to draw from.
    """
    return draw_several(principles, 1, seed, *key)[0]


def draw_several(principles: Sequence[N], n: int, seed: int, *key: str) -> list[N]:
    """n different principles for a key, the one that ``draw`` gives first.

    Raises:
        ArtifactError: there are fewer.
    """
    if len(principles) < n:
        raise ArtifactError(
            "constitution",
            "no principle of this kind" if not principles else "too few principles of this kind",
            got=f"{len(principles) or 'none'} for {key[0] if key else 'this draw'}",
            expected="at least one" if n == 1 else f"at least {n}",
            next_step='add a "comparison" list to the file, or choose another constitution.source',
        )
    return sorted(principles, key=lambda one: (_hash(seed, *key, one.id), one.id), reverse=True)[:n]


def read(source: str, path: Path) -> Constitution:
    """The constitution at a path, in the shape that ``source`` names and in no other.

    Raises:
        ArtifactError: missing, not JSON, or not of that shape; the place inside the file is named.
    """
    readers: Mapping[str, Callable[[Path], Constitution]] = {
        "ours": _ours,
        "anthropic": _anthropic,
        "llm_swarm": _llm_swarm,
    }
    if source not in readers:
        raise _refused("constitution.source", "no such source", source, ", ".join(readers))
    found = readers[source](path)
    for kind in (found.critique_revision, found.comparison):
        ids = [principle.id for principle in kind]
        twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if twice:
            raise _refused(str(path), "ids stand twice", ", ".join(twice), "each id once, because rows name them")
    if not found.critique_revision:
        raise _refused(str(path), "no critique/revision principles", "none", "at least one")
    return found


def _ours(path: Path) -> Constitution:
    content = _object(_json(path), str(path))
    demonstrations = _object(content.get("demonstrations", {}), f"{path}: demonstrations")
    place = f"{path}: demonstrations.comparison"
    compared = []
    for i, item in enumerate(_list(demonstrations.get("comparison", []), place)):
        better = _text(item, "better", f"{place}[{i}]")
        if better not in ("A", "B"):
            raise _refused(f"{place}[{i}].better", "neither A nor B", f"{len(better)} characters", "A or B")
        compared.append(
            ComparisonDemonstration(
                _text(item, "prompt", f"{place}[{i}]"),
                _text(item, "response_a", f"{place}[{i}]"),
                _text(item, "response_b", f"{place}[{i}]"),
                "A" if better == "A" else "B",
                _text(item, "principle", f"{place}[{i}]"),
                _text(item, "reasoning", f"{place}[{i}]") if "reasoning" in item else None,
            )
        )
    place = f"{path}: demonstrations.critique_revision"
    chains = [
        Demonstration(
            prompt=_text(item, "prompt", f"{place}[{i}]"),
            response=_text(item, "response", f"{place}[{i}]"),
            critique=_text(item, "critique", f"{place}[{i}]"),
            revision=_text(item, "revision", f"{place}[{i}]"),
            critique_request=_text(item, "critique_request", f"{place}[{i}]"),
            revision_request=_text(item, "revision_request", f"{place}[{i}]"),
        )
        for i, item in enumerate(_list(demonstrations.get("critique_revision", []), place))
    ]
    place = f"{path}: critique_revision"
    principles = [
        Principle(*(_text(item, key, f"{place}[{i}]") for key in ("id", "critique_request", "revision_request")))
        for i, item in enumerate(_list(content.get("critique_revision"), place))
    ]
    comparison = _comparisons(content.get("comparison"), path)
    return Constitution(tuple(principles), comparison, tuple(chains), tuple(compared))


def _comparisons(content: object, path: Path) -> tuple[Comparison, ...]:
    place = f"{path}: comparison"
    items = _list(content, place)
    return tuple(
        Comparison(_text(item, "id", f"{place}[{i}]"), _text(item, "principle", f"{place}[{i}]"))
        for i, item in enumerate(items)
    )


_MARKS = ("Human", "Assistant", "CritiqueRequest", "Critique", "RevisionRequest", "Revision")
_MARK = re.compile(rf"(?:\A\s*|\n\n)({'|'.join(_MARKS)}):")


def _anthropic(folder: Path) -> Constitution:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing"
        raise _refused(str(folder), "not a folder", got, "a folder with CritiqueRevisionInstructions.json")
    place = folder / "CritiqueRevisionInstructions.json"
    principles = []
    for name, entry in _object(_json(place), str(place)).items():
        prompts = _list(_object(entry, f"{place}: {name}").get("prompt"), f"{place}: {name}.prompt")
        if len(prompts) != 1 or not isinstance(prompts[0], str):
            raise _refused(f"{place}: {name}.prompt", "not a list of one text", f"{len(prompts)} items", "one text")
        request = _text(entry, "edit_request", f"{place}: {name}")
        principles.append(
            Principle(
                name,
                _unwrapped(prompts[0], "CritiqueRequest", "Critique", f"{place}: {name}.prompt"),
                _unwrapped(request, "RevisionRequest", "Revision", f"{place}: {name}.edit_request"),
            )
        )
    place = folder / "RLMadisonInstructions.json"
    comparison = []
    for i, text in enumerate(_list(_json(place), str(place))):
        if not isinstance(text, str):
            raise _refused(f"{place}[{i}]", "not a text", type(text).__name__, "text")
        comparison.append(Comparison(f"comparison{i}", re.sub(r"\s*Options:\s*\Z", "", text).strip()))
    return Constitution(
        tuple(principles),
        tuple(comparison),
        _anthropic_chains(folder / "CritiqueRevisionFewShotPrompts.json"),
        _anthropic_comparisons(folder / "RLMadisonFewShotPrompts.json")
        + _anthropic_reasoned(folder / "RLMadisonPrecogFewShotPrompts.json"),
    )


def _anthropic_chains(place: Path) -> tuple[Demonstration, ...]:
    """The demonstrations of a file that may be absent: the paper's method has them as an option."""
    if not place.exists():
        return ()
    chains = []
    for i, text in enumerate(_list(_json(place), str(place))):
        if not isinstance(text, str):
            raise _refused(f"{place}[{i}]", "not a text", type(text).__name__, "text")
        marks = list(_MARK.finditer(text))
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        spoken = [(mark[1], text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]
        if spoken and spoken[-1] == ("Human", ""):
            # The delimiter of the next demonstration; one of the five published ones lacks it.
            spoken.pop()
        tail = tuple(mark for mark, _ in spoken[-6:])
        if tail != _MARKS:
            raise _refused(f"{place}[{i}]", "not a worked chain", " ".join(tail) or "no marks", " ".join(_MARKS))
        roles = {"Human": "user", "Assistant": "assistant"}
        earlier = tuple((roles.get(mark, mark), body) for mark, body in spoken[:-6])
        bodies = [body for _, body in spoken[-6:]]
        chains.append(
            Demonstration(
                prompt=bodies[0],
                response=bodies[1],
                critique=bodies[3],
                revision=bodies[5],
                earlier=earlier,
                critique_request=bodies[2],
                revision_request=bodies[4],
            )
        )
    return tuple(chains)


def _anthropic_comparisons(place: Path) -> tuple[ComparisonDemonstration, ...]:
    if not place.exists():
        return ()
    found = []
    for i, item in enumerate(_list(_json(place), str(place))):
        entry = _object(item, f"{place}[{i}]")
        prompt = _text(entry, "prompt", f"{place}[{i}]")
        right, wrong = (_list(entry.get(key), f"{place}[{i}].{key}") for key in ("corrects", "incorrects"))
        if not right or not wrong:
            got = f"{len(right)} right, {len(wrong)} wrong"
            raise _refused(f"{place}[{i}]", "no pair of answers", got, "corrects and incorrects")
        prompt = re.sub(r"\A\s*Human:\s*|\s*Assistant:\s*\Z", "", prompt)
        # The right answer takes turns, so that no letter is demonstrated as the better one.
        if i % 2:
            found.append(ComparisonDemonstration(prompt, str(wrong[0]), str(right[0]), "B"))
        else:
            found.append(ComparisonDemonstration(prompt, str(right[0]), str(wrong[0]), "A"))
    return tuple(found)


_REASONED = re.compile(
    r"\s*Human:[^\n]*\n\n(.*)\n\n\{\}\n \(A\) \[\[\[(.*)\]\]\]\n \(B\) \[\[\[(.*)\]\]\]"
    r"\n\nAssistant: *(.*)\n\nHuman:\s*So the answer is: \(([AB])\)\s*",
    re.DOTALL,
)


def _anthropic_reasoned(place: Path) -> tuple[ComparisonDemonstration, ...]:
    """The chain-of-thought demonstrations, whose principle is the drawn one."""
    if not place.exists():
        return ()
    found = []
    for i, item in enumerate(_list(_json(place), str(place))):
        match = _REASONED.fullmatch(_text(_object(item, f"{place}[{i}]"), "prompt", f"{place}[{i}]"))
        if match is None:
            raise _refused(
                f"{place}[{i}].prompt", "not a reasoned comparison", "another shape",
                "Human: ... {} (A) [[[...]]] (B) [[[...]]] Assistant: ... So the answer is: (A)",
            )  # fmt: skip
        conversation, first, second, reasoning, better = match.groups()
        prompt = re.sub(r"^H: *", "Human: ", re.sub(r"^A: *", "Assistant: ", conversation, flags=re.M), flags=re.M)
        if prompt.count("Human: ") == 1:
            prompt = prompt.removeprefix("Human: ")
        found.append(
            ComparisonDemonstration(
                prompt.strip(),
                first.strip(),
                second.strip(),
                "A" if better == "A" else "B",
                reasoning=reasoning.strip(),
            )
        )
    return tuple(found)


def _unwrapped(text: str, before: str, after: str, place: str) -> str:
    match = re.fullmatch(rf"\s*{before}:(.*)\n\n{after}:\s*", text, re.DOTALL)
    if match is None or not match[1].strip():
        raise _refused(place, "not in its wrapper", "text without it", f"{before}: ... {after}:")
    return match[1].strip()


def _llm_swarm(path: Path) -> Constitution:
    content = _object(_json(path), str(path))
    place = f"{path}: constitutions"
    principles = [
        Principle(f"constitution{i}", *(_text(item, key, f"{place}[{i}]") for key in ("critic", "revision")))
        for i, item in enumerate(_list(content.get("constitutions"), place))
    ]
    place = f"{path}: system_chat"
    chains = []
    for i, chat in enumerate(_list(content.get("system_chat", []), place)):
        said = _list(chat, f"{place}[{i}]")
        turns = [(_text(turn, "role", f"{place}[{i}]"), _text(turn, "content", f"{place}[{i}]")) for turn in said]
        if [role for role, _ in turns] != ["user", "assistant"] * 3:
            got = ", ".join(role for role, _ in turns) or "no turn"
            raise _refused(f"{place}[{i}]", "not three exchanges", got, "user, assistant, three times")
        prompt, response, critic, critique, request, revision = (text for _, text in turns)
        chains.append(Demonstration(prompt, response, critique, revision, (), critic, request))
    comparison = _comparisons(content["comparison"], path) if "comparison" in content else ()
    return Constitution(tuple(principles), comparison, tuple(chains))


_CHECK = "check constitution.path and constitution.source in params.yaml"


def _refused(place: str, fact: str, got: str, expected: str) -> ArtifactError:
    """All parts of the message, and no text of the file in it."""
    return ArtifactError(place, fact, got=got, expected=expected, next_step=_CHECK)


def _json(path: Path) -> object:
    place = str(path)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ArtifactError(place, "no such file", got="nothing", expected="a JSON file", next_step=_CHECK) from None
    except OSError as error:
        raise ArtifactError(
            place, "cannot be read", got=error.strerror, expected="a JSON file", next_step=_CHECK
        ) from None
    except UnicodeDecodeError as error:
        raise ArtifactError(
            place,
            "not UTF-8",
            got=f"byte at offset {error.start}",
            expected="UTF-8",
            next_step="convert the file to UTF-8",
        ) from None
    if content.startswith(b"version https://git-lfs"):
        raise ArtifactError(
            place,
            "a git-LFS pointer, not the file",
            got=f"{len(content)} bytes",
            expected="a JSON file",
            next_step="git lfs pull in the repository it came from",
        )
    if not text.strip():
        raise ArtifactError(
            place, "the file is empty", got=f"{len(content)} bytes", expected="a JSON file", next_step=_CHECK
        )
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at, got = f"{place}: line {error.lineno}", error.msg
    except RecursionError:
        at, got = place, "brackets nested too deeply"
    raise ArtifactError(at, "not valid JSON", got=got, expected="one JSON document", next_step=_CHECK)


def _object(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ArtifactError(place, "not an object", got=type(value).__name__, expected="{...}", next_step=_CHECK)
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise ArtifactError(
            place,
            "not a list",
            got="nothing" if value is None else type(value).__name__,
            expected="[...]",
            next_step=_CHECK,
        )
    return value


def _text(value: object, key: str, place: str) -> str:
    found = _object(value, place).get(key)
    if not isinstance(found, str) or not found.strip():
        raise ArtifactError(
            f"{place}.{key}",
            "no text",
            got="nothing" if found is None else type(found).__name__,
            expected="text",
            next_step=_CHECK,
        )
    return found.strip()


def _hash(seed: int, *parts: str) -> str:
    return hashlib.sha256(json.dumps([seed, *parts]).encode()).hexdigest()

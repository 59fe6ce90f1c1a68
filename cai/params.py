"""params.yaml as typed sections: strict, frozen, unknown keys refused, every violation told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from cai.errors import ParamsError
from cai.llm.model import Sampling

Share = Field(ge=0.0, le=1.0)


def native_precision(cpu: Path = Path("/proc/cpuinfo"), devices: Path = Path("/dev")) -> Literal["bf16", "fp32"]:
    """bf16 where this machine multiplies it in hardware (a GPU, or a CPU that says so), else fp32.

    A CPU without such instructions emulates them: measured 4 to 7 times slower than fp32 (EXPERIMENTS.md). No torch
    here, since a stage whose work is done already never imports it.
    """
    if any(devices.glob("nvidia[0-9]*")):
        return "bf16"
    try:
        said = cpu.read_text(errors="replace")
    except OSError:
        return "fp32"
    flags = {
        word for line in said.splitlines() if line.lower().startswith(("flags", "features")) for word in line.split()
    }
    return "bf16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "fp32"


def settled(precision: Any) -> Any:
    """``precision`` with "auto" replaced by what it means on this machine; what is neither is refused.

    >>> settled("fp32")
    'fp32'
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"{precision!r}; allowed: auto, bf16, fp32")
    return native_precision() if precision == "auto" else precision


Precision = Annotated[Literal["bf16", "fp32"], BeforeValidator(settled)]
"""What a section computes in. The file may say "auto"; whoever reads the section sees what that means here."""


class Section(BaseModel):
    """One section of params.yaml. No defaults: what a run used stands in the file."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Asks(Section):
    """The keys of every section that calls a model."""

    backend: Literal["hf", "openai", "vllm", "scripted"]
    model: str
    base_url: str | None
    batch_size: int = Field(ge=1)
    precision: Precision


class Generates(Asks):
    """The keys of every section that lets a model write."""

    temperature: float = Field(ge=0.0)
    top_p: float = Field(gt=0.0, le=1.0)
    top_k: int = Field(ge=0)
    max_new_tokens: int = Field(ge=1)

    def sampling(self, seed: int) -> Sampling:
        """The section's sampling parameters."""
        return Sampling(self.temperature, self.top_p, self.top_k, self.max_new_tokens, seed)


class Judges(Generates):
    """The ``judge`` section: the model that compares, rates and classifies, and how it is read."""

    replies: Literal["logprobs", "text"]
    orders: Literal[1, 2]
    principles: int = Field(ge=1)
    demonstrations: int = Field(ge=0)
    reasoning_tokens: int = Field(ge=0)
    clamp: list[float] = Field(min_length=2, max_length=2)

    @field_validator("clamp")
    @classmethod
    def _around_one_half(cls, value: list[float]) -> list[float]:
        if not 0.0 <= value[0] < 0.5 < value[1] <= 1.0:
            raise ValueError("expected [low, high] with 0 <= low < 0.5 < high <= 1")
        return value


class SecondJudge(Judges):
    """The ``second_judge`` section: another judge that is asked about n of the pairs, to see how far they agree."""

    n: int | None = Field(ge=0)


class ConstitutionSource(Section):
    """Where the principles come from."""

    source: Literal["ours", "anthropic", "llm_swarm"]
    path: str


def read_yaml(path: Path) -> dict[str, Any]:
    """The file as a dict.

    Raises:
        ParamsError: missing, not UTF-8, not YAML, not a mapping, or with keys that stand twice.
    """
    mend = f"git diff {path.name} shows what changed; git checkout {path.name} takes it back"
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        content = None if node is None else loader.construct_document(node)
        twice = list(_twice(node, "", set()))
    except OSError as error:
        raise ParamsError(
            path.name,
            "cannot be read",
            got=error.strerror,
            expected="a file",
            next_step="run inside the project, or git checkout it",
        ) from None
    except UnicodeDecodeError as error:
        raise ParamsError(path.name, "not UTF-8", got=str(error), expected="UTF-8", next_step=mend) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).replace("<unicode string>", path.name).split())
        raise ParamsError(path.name, "not valid YAML", got=said, expected="YAML", next_step=mend) from None
    if not isinstance(content, dict):
        got = "nothing" if content is None else type(content).__name__
        raise ParamsError(path.name, "not a mapping of sections", got=got, expected="section: {...}", next_step=mend)
    if twice:
        raise ParamsError(
            path.name,
            "keys that stand twice",
            got=", ".join(twice),
            expected="each key once, because YAML readers take the last one and say nothing",
            next_step=f"delete the wrong one; {mend}",
        )
    return content


def _twice(node: yaml.Node | None, path: str, seen: set[int]) -> Iterator[str]:
    """Every key that its mapping holds more than once, with its lines; what an alias shows again is walked once."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _twice(item, f"{path}[{place}]", seen)
        return
    lines: dict[str, list[int]] = {}
    for key, value in node.value:
        name = f"{path}.{key.value}".lstrip(".")
        lines.setdefault(name, []).append(key.start_mark.line + 1)
        yield from _twice(value, name, seen)
    yield from (f"{name} (lines {' and '.join(map(str, at))})" for name, at in lines.items() if len(at) > 1)


def check(content: dict[str, Any], sections: dict[str, Any], place: str) -> None:
    """Raise one ParamsError that names every violation in the whole file.

    Args:
        content: what the file says.
        sections: top-level key → its declared type.
        place: the file's name, for the message.
    """
    found = [
        f"{key}: unknown section; allowed: {', '.join(sorted(sections))}" for key in content if key not in sections
    ]
    found += [f"{key}: missing section" for key in sections if key not in content]
    for key in content:
        if key in sections:
            found += violations(sections[key], content[key], key)
    if found:
        raise ParamsError(
            place,
            f"{len(found)} violations" if len(found) > 1 else "1 violation",
            got="\n  " + "\n  ".join(found) + "\n",
            expected="what each line says is allowed",
            next_step=f"mend these lines; git diff {place} shows what changed",
        )


def violations(kind: Any, value: object, place: str) -> list[str]:
    """Every way in which a value departs from its declared type, in words."""

    class Holder(BaseModel):
        model_config = ConfigDict(strict=True)
        value: kind

    try:
        Holder.model_validate({"value": value})
    except ValidationError as error:
        return [line for detail in error.errors() for line in _in_words(detail, place, kind).split("\n")]
    return []


def _in_words(detail: Any, place: str, kind: Any) -> str:
    where = ".".join([place, *(str(part) for part in detail["loc"][1:])])
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key; allowed: {', '.join(_fields(kind, detail['loc'][1:-1]))}"
    if detail["type"] == "missing":
        return f"{where}: missing"
    if detail["type"] == "value_error" and isinstance(detail["input"], dict):  # said of a section as a whole
        said = str(detail["ctx"]["error"])
        return said if said.startswith(f"{place}.") else f"{where}: {said}"
    return f"{where}: {detail['msg'].lower()}, got {detail['input']!r}"


def _fields(kind: Any, path: Iterable[Any]) -> list[str]:
    """Names allowed at a path inside nested sections."""
    for part in path:
        annotation = (
            kind.model_fields[part].annotation if isinstance(kind, type) and hasattr(kind, "model_fields") else None
        )
        if annotation is None:
            break
        kind = annotation
    return sorted(kind.model_fields) if isinstance(kind, type) and hasattr(kind, "model_fields") else []

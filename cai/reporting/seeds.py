"""Runs of other seeds beside this one: their outcomes are kept in Git and pooled within each prompt.

`metrics/eval/seeds/<seed>/<model>.outcomes.csv` is a copy of what another seed's run wrote. `cai seeds` takes it out of
Git and refuses a run that differs in anything but seeds, since a pool of two variants would be neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.artifacts.table import write_text
from cai.errors import ArtifactError
from cai.reporting.changes import paired
from cai.reporting.evaluation import Evaluation
from cai.reporting.inputs import HELDOUT, MODELS, Inputs
from cai.reporting.questions import AFTER, BEFORE, Change
from cai.reporting.revisions import file_at, outcomes_at, revision

if TYPE_CHECKING:
    import polars as pl

    from cai.scoring.statistics import Measure

FOLDER = "metrics/eval/seeds"
COST_ONLY = frozenset({"servers"})
"""Sections of params.yaml that change no result."""


@dataclass(frozen=True)
class Seeds:
    """Every model's outcomes of all seeds as one table, each seed's own values, and what the pool says."""

    names: tuple[int, ...]
    measures: Mapping[str, Mapping[str, Measure]]
    """{model: {measure: mean over prompts of the mean over seeds}}"""
    each: Mapping[str, Mapping[str, tuple[float | None, ...]]]
    """{model: {measure: the value of each seed, in the order of ``names``}}"""
    changes: Mapping[str, Change]

    @property
    def told(self) -> str:
        """Which seeds, in words."""
        return f"mean of seeds {', '.join(map(str, self.names))}"

    def evaluations(self, scored: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
        """The evaluations with every measure that outcomes give replaced by the pool's, which says so.

        A measure that this run could not take keeps its reason.
        """
        return {model: self._evaluation(one) for model, one in scored.items()}

    def _evaluation(self, one: Evaluation) -> Evaluation:
        measures = dict(one.measures)
        for name, pool in self.measures[one.model].items():
            head, leaf = name.rsplit(".", 1)
            path = f"{head}.measures.{leaf}"
            own = measures.get(path)
            if own is None or own["value"] is None:
                continue
            where = ", ".join(part for part in (own.get("horizon"), self.told) if part)
            measures[path] = replace(pool, horizon=where).as_dict()
        return replace(one, measures=measures)


def seeds(inputs: Inputs, scored: Mapping[str, Evaluation]) -> Seeds | None:
    """The pool of this run with the seeds kept beside it; None where there are none.

    Raises:
        ArtifactError: a folder is no seed or this run's own, or lacks the outcomes of a model that was scored here.
    """
    from cai.scoring.outcomes import pooled, pooled_measures

    folder = inputs.root / FOLDER
    others = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    known = {model: one.outcomes for model, one in scored.items() if one.outcomes is not None}
    if not others or not known:
        return None
    own = {decoding["seed"] for one in scored.values() if "seed" in (decoding := one.content.get("decoding") or {})}
    if len(own) != 1:
        raise ArtifactError(FOLDER, "this run's own seed is not known", got=str(sorted(own)), next_step="dvc repro")
    tables = {own.pop(): known}
    for path in others:
        place = f"{FOLDER}/{path.name}"
        if not path.name.isdecimal():
            raise ArtifactError(place, "is no seed", expected="a whole number")
        if int(path.name) in tables:
            raise ArtifactError(place, "a seed twice: its outcomes are here already", next_step=f"rm -r {place}")
        tables[int(path.name)] = {model: _read(path / f"{model}.outcomes.csv", place) for model in known}
    names = tuple(sorted(tables))
    pools = {model: pooled([tables[name][model] for name in names]) for model in known}
    each: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for model in known:
        single = [pooled_measures(tables[name][model], draws=1) for name in names]
        each[model] = {
            measure: tuple(one[measure].value if measure in one else None for one in single)
            for measure in dict.fromkeys(measure for one in single for measure in one)
        }
    both = BEFORE in pools and AFTER in pools
    changed = paired(pools[BEFORE], pools[AFTER]) if both else {}
    return Seeds(names, {model: pooled_measures(pool) for model, pool in pools.items()}, each, changed)


def _read(file: Path, place: str) -> pl.DataFrame:
    from cai.scoring.outcomes import from_csv

    if not file.is_file():
        raise ArtifactError(f"{place}/{file.name}", "no such file", expected="the outcomes of every model scored here")
    return from_csv(file.read_text(encoding="utf-8"), f"{place}/{file.name}")


def rows(found: Seeds) -> list[dict[str, Any]]:
    """One row a measure for the page: primary ones, then the others of the held-out prompts and of the judge.

    Keys: measure, primary, change, cells (one a model: the measure as a dict, and each seed's value).
    """
    models = list(found.measures)
    names = dict.fromkeys(name for model in models for name in found.measures[model])
    told = []
    for name in names:
        pools = [found.measures[model].get(name) for model in models]
        if all(pool is None or pool.value is None for pool in pools):
            continue
        change = found.changes.get(name)
        primary = change is not None and change.primary
        apart = name.startswith("degeneration.") and not name.startswith(f"degeneration.{HELDOUT}.")
        if apart and not name.endswith(".degenerate_share"):
            continue
        cells = [
            (None if pool is None else pool.as_dict(), found.each[model].get(name, ()))
            for model, pool in zip(models, pools, strict=True)
        ]
        told.append({"measure": name, "primary": primary, "change": change, "cells": cells})
    return sorted(told, key=lambda row: not row["primary"])


def keep(root: Path, revisions: Sequence[str]) -> list[int]:
    """Put the outcomes of other seeds' runs into ``FOLDER``, in place of those that were there; the seeds.

    Raises:
        ArtifactError: a revision is unknown, has this run's seed or another's, differs in more than seeds, or lacks
            outcomes. Nothing is written then.
    """
    here = _params(root, None, "workspace")
    taken: dict[int, dict[str, str]] = {}
    for name in revisions:
        commit = revision(root, name)
        there = _params(root, commit, name)
        differ = sorted(
            key for key in here.keys() | there.keys() if here.get(key) != there.get(key) and not _may_differ(key)
        )
        if differ:
            raise ArtifactError(
                name, "differs in more than its seed", got=", ".join(differ[:5]), next_step="cai compare shows variants"
            )
        seed = there.get("seed")
        if seed == here.get("seed") or seed in taken or not isinstance(seed, int):
            raise ArtifactError(name, "is no other seed", got=seed, next_step="dvc exp run -S seed=1")
        taken[seed] = {}
        for model in MODELS:
            if outcomes_at(root, commit, model) is None:
                raise ArtifactError(name, f"has no outcomes of {model}", next_step="commit metrics/eval there")
            taken[seed][model] = file_at(root, commit, f"metrics/eval/{model}.outcomes.csv") or ""
    for folder in (root / FOLDER).glob("*"):
        for file in folder.glob("*.outcomes.csv"):
            file.unlink()
        folder.rmdir()
    for seed, files in taken.items():
        for model, text in files.items():
            write_text(root / FOLDER / str(seed) / f"{model}.outcomes.csv", text)
    return sorted(taken)


def _params(root: Path, commit: str | None, name: str) -> dict[str, Any]:
    """{dotted key: value} of params.yaml in a commit."""
    import yaml

    text = file_at(root, commit, "params.yaml")
    content = None if text is None else yaml.safe_load(text)
    if not isinstance(content, Mapping):
        raise ArtifactError(name, "has no params.yaml")
    return dict(_flat(content))


def _flat(content: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in content.items():
        place = f"{path}.{key}" if path else str(key)
        found += _flat(value, place) if isinstance(value, Mapping) and value else [(place, value)]
    return found


def _may_differ(key: str) -> bool:
    """Seeds of draws and of training may; the one that cuts the splits may not: other prompts cannot be paired."""
    *section, name = key.split(".")
    return (name == "seed" and section != ["prompts"]) or (bool(section) and section[0] in COST_ONLY)

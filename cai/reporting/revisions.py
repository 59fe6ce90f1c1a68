"""What Git keeps of other runs: a revision or a DVC experiment by its name, and the small files in it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cai.errors import ArtifactError

if TYPE_CHECKING:
    import polars as pl

WORKSPACE = "workspace"


def revision(root: Path, name: str) -> str | None:
    """The commit that a revision or a DVC experiment names; None for the files as they are.

    Raises:
        ArtifactError: neither Git nor DVC knows it.
    """
    if name == WORKSPACE:
        return None
    known = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if known:
        return known.strip()
    experiments = _git(root, "for-each-ref", "--format=%(refname)", "refs/exps") or ""
    for ref in experiments.split():
        if ref.rsplit("/", 1)[-1] == name:
            return ref
    raise ArtifactError("Git", "no such revision or experiment", got=name, next_step='see "git log" and "dvc exp show"')


def file_at(root: Path, commit: str | None, path: str) -> str | None:
    """The text of a file in a commit (None: the file as it is), or None where there is no such file."""
    if commit is None:
        file = root / path
        return file.read_text(encoding="utf-8") if file.is_file() else None
    return _git(root, "show", f"{commit}:./{path}")


def outcomes_at(root: Path, commit: str | None, model: str) -> pl.DataFrame | None:
    """The outcomes of one model in a commit, or None where it has none.

    Raises:
        ArtifactError: they are broken.
    """
    from cai.scoring.outcomes import from_csv

    path = f"metrics/eval/{model}.outcomes.csv"
    text = file_at(root, commit, path)
    return None if text is None else from_csv(text, path)


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, or None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None

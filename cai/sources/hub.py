"""Rows of a hub dataset at one commit, through the ``datasets`` library."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import regex

from cai.errors import ArtifactError, ParamsError
from cai.sources.files import Row
from cai.sources.source import HubDataset, Part, Place, rows_sha256

_PINNED = regex.compile(r"[0-9a-f]{40}")
_ID = regex.compile(r"[\w.-]+/[\w.-]+")
_REACH_SECONDS = 10.0
_MEND = "mend hub.id and hub.parts in params.yaml"
_COLUMNS = ("chosen", "rejected", "transcript", "instruction", "input", "output")


def parts(section: Place, root: Path) -> list[Part]:
    """One part for each of ``section.hub.parts``, with the columns that a raw frame can use.

    Raises:
        ParamsError: the revision is not a commit.
        ArtifactError: the hub cannot be reached, or does not hold what is asked for.
    """
    hub = section.hub
    if not _ID.fullmatch(hub.id):
        raise ParamsError("params.yaml: hub dataset", "not an id", got=hub.id, expected="OWNER/NAME", next_step=_MEND)
    if hub.revision is None or not _PINNED.fullmatch(hub.revision):
        raise ParamsError(
            f"params.yaml: hub dataset {hub.id}",
            "not pinned",
            got=f"revision {hub.revision}",
            expected="the 40 hex digits of a commit: a branch moves, and the run could not be repeated",
            next_step=f"copy one from the commit list of datasets/{hub.id} on the hub",
        )
    if not hub.parts:
        raise ParamsError(
            f"params.yaml: hub dataset {hub.id}",
            "no parts named",
            got="[]",
            expected="e.g. [harmless-base/train]",
            next_step=_MEND,
        )
    files = _listed(hub)
    return [_part(hub, name, files) for name in hub.parts]


def _listed(hub: HubDataset) -> list[str]:
    """Every file of the dataset at this commit: the request that shows whether the hub answers, and for what."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    place = f"hub dataset {hub.id}"
    if constants.HF_HUB_OFFLINE:
        raise ArtifactError(
            place,
            "the hub is switched off here by HF_HUB_OFFLINE",
            got="source hub",
            expected="a hub that may be asked",
            next_step="unset it, or set fetch.source to path or sample yourself",
        )
    try:
        found = HfApi().dataset_info(hub.id, revision=hub.revision, timeout=_REACH_SECONDS)
    except RevisionNotFoundError:
        raise ArtifactError(
            place,
            "the hub has no such revision",
            got=hub.revision,
            expected="a commit of this dataset",
            next_step="copy one from its commit list",
        ) from None
    except RepositoryNotFoundError:
        raise ArtifactError(
            place,
            "the hub has no such dataset, or it is gated",
            got=hub.id,
            expected="a dataset that this account may read",
            next_step="check the id, or run hf auth login",
        ) from None
    except _failures() as error:
        raise _unreached(place, error) from None
    return sorted(one.rfilename for one in found.siblings or ())


def _failures() -> tuple[type[Exception], ...]:
    """What the hub's client raises when the hub does not answer, or not as it should."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    return (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError, OSError)


def _unreached(place: str, error: Exception) -> ArtifactError:
    from huggingface_hub import constants

    return ArtifactError(
        place,
        f"the hub cannot be reached at {constants.ENDPOINT}",
        got=f"{type(error).__name__}: {' '.join(str(error).split())[:160]}",
        expected="an answer",
        next_step="check the network or HF_ENDPOINT, or set fetch.source to path or sample yourself",
    )


def _downloaded(hub: HubDataset, folder: str, files: Sequence[str]) -> Path:
    """The folder of this commit's files, with those that lie in ``folder`` and the dataset's card in it.

    ``datasets`` is then given this folder and never the id: for an id it would read a folder of that name in the
    working directory, and, when the hub does not answer, whatever other commit it has read before.
    """
    from huggingface_hub import hf_hub_download

    wanted = [file for file in files if file == "README.md" or not folder or file.startswith(f"{folder}/")]
    at = Path()
    for file in wanted:
        try:
            path = hf_hub_download(hub.id, file, repo_type="dataset", revision=hub.revision)
        except _failures() as error:
            raise _unreached(f"hub dataset {hub.id}: {file}", error) from None
        at = Path(path).parents[file.count("/")]
    return at


def _part(hub: HubDataset, name: str, files: Sequence[str]) -> Part:
    import datasets

    folder, _, split = name.rpartition("/")
    place = f"hub dataset {hub.id}: {name}"
    if not any(file.startswith(f"{folder}/" if folder else "") for file in files):
        raise ArtifactError(
            place,
            "the dataset has no such folder",
            got=folder or "no file at all",
            expected=", ".join(sorted({file.rpartition("/")[0] for file in files} - {""})) or "a split alone",
            next_step=_MEND,
        )
    at = _downloaded(hub, folder, files)
    # The bars would fill a log file; how far `fetch` is does not matter, it takes seconds.
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    try:
        found = datasets.load_dataset(str(at), data_dir=folder or None, split=split)
    except (datasets.exceptions.DatasetsError, ValueError, OSError) as error:
        raise ArtifactError(
            place,
            "cannot be loaded",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:240]}",
            expected=f"split {split!r}" + (f" in folder {folder!r}" if folder else "") + f" at {hub.revision}",
            next_step="check the parts in params.yaml against the dataset's files",
        ) from None
    rows: list[Row] = [dict(row) for row in found.select_columns([c for c in _COLUMNS if c in found.column_names])]
    if not rows:
        raise ArtifactError(place, "holds no rows", got="0", expected="at least one", next_step=_MEND)
    return Part(name, rows, rows_sha256(rows))

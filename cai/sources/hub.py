"""Rows of a hub dataset at one commit, through the ``datasets`` library."""

from __future__ import annotations

import logging
from pathlib import Path

import regex

from cai.errors import ArtifactError, ParamsError
from cai.sources.files import Row
from cai.sources.source import HubDataset, Part, Place, rows_sha256

_PINNED = regex.compile(r"[0-9a-f]{40}")
_REACH_SECONDS = 10.0
_COLUMNS = ("chosen", "rejected", "transcript", "instruction", "input", "output")


def parts(section: Place, root: Path) -> list[Part]:
    """One part for each of ``section.hub.parts``, with the columns that a raw frame can use.

    Raises:
        ParamsError: the revision is not a commit.
        ArtifactError: the hub cannot be reached, or does not hold what is asked for.
    """
    hub = section.hub
    if hub.revision is None or not _PINNED.fullmatch(hub.revision):
        raise ParamsError(
            f"params.yaml: hub dataset {hub.id}",
            "not pinned",
            got=f"revision {hub.revision}",
            expected="the 40 hex digits of a commit: a branch moves, and the run could not be repeated",
            next_step=f"copy one from the commit list of datasets/{hub.id} on the hub",
        )
    if not hub.parts:
        raise ParamsError(f"params.yaml: hub dataset {hub.id}", "no parts named", expected="e.g. [harmless-base/train]")
    _reach(hub)
    return [_part(hub, name) for name in hub.parts]


def _reach(hub: HubDataset) -> None:
    """One request that shows whether the hub answers for this commit, before ``datasets`` tries for minutes."""
    import httpx2
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        return
    place = f"hub dataset {hub.id}"
    try:
        HfApi().dataset_info(hub.id, revision=hub.revision, timeout=_REACH_SECONDS)
    except RevisionNotFoundError:
        raise ArtifactError(
            place, "the hub has no such revision", got=hub.revision, next_step="copy a commit from its commit list"
        ) from None
    except RepositoryNotFoundError:
        raise ArtifactError(
            place, "the hub has no such dataset, or it is gated", next_step="check the id, or run hf auth login"
        ) from None
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise ArtifactError(
            place,
            f"the hub cannot be reached at {constants.ENDPOINT}",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:160]}",
            next_step="check the network or HF_ENDPOINT, or set fetch.source to path or sample yourself",
        ) from None


def _part(hub: HubDataset, name: str) -> Part:
    import datasets
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    folder, _, split = name.rpartition("/")
    # The bars would fill a log file; how far `fetch` is does not matter, it takes seconds.
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    try:
        found = datasets.load_dataset(
            hub.id,
            data_dir=folder or None,
            split=split,
            revision=hub.revision,
            download_config=datasets.DownloadConfig(max_retries=1),
        )
    except (
        datasets.exceptions.DatasetsError,
        LocalEntryNotFoundError,
        HfHubHTTPError,
        httpx2.HTTPError,
        ValueError,
        OSError,
    ) as error:
        raise ArtifactError(
            f"hub dataset {hub.id}: {name}",
            "cannot be loaded",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:240]}",
            expected=f"split {split!r}" + (f" in folder {folder!r}" if folder else "") + f" at {hub.revision}",
            next_step="check fetch.hub.parts against the dataset's files, or the network",
        ) from None
    rows: list[Row] = [dict(row) for row in found.select_columns([c for c in _COLUMNS if c in found.column_names])]
    if not rows:
        raise ArtifactError(f"hub dataset {hub.id}: {name}", "holds no rows")
    return Part(name, rows, rows_sha256(rows))

"""Bringing from and keeping at the remote place: these load nothing where none is named."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.progress import Report
from pipeline.remote.place import remote_of
from pipeline.store.layout import StoreFolder
from pipeline.study.names import Site
from pipeline.training.identity import Run
from pipeline.workspace import Workspace


def bring_sources(folder: StoreFolder, sites: Sequence[Site]) -> None:
    """Makes sites that are complete at the remote place complete here. Raises RemoteError."""
    if folder.remote is not None:
        from pipeline.remote.sources import bring_source

        for site in dict.fromkeys(sites):
            bring_source(folder, site)


def keep_source(folder: StoreFolder, site: Site, report: Report) -> None:
    """Sends a complete site. Raises RemoteError."""
    if folder.remote is not None:
        from pipeline.remote.sources import send_source

        send_source(folder, site, report)


def bring_saes(workspace: Workspace, runs: Sequence[Run]) -> None:
    """Makes SAEs that are at the remote place exist here. Raises RemoteError."""
    remote = remote_of(workspace)
    if remote is not None:
        from pipeline.remote.saes import bring_sae

        for run in runs:
            bring_sae(workspace, remote, run)


def keep_saes(workspace: Workspace, runs: Sequence[Run]) -> None:
    """Sends finished SAEs. Raises RemoteError."""
    remote = remote_of(workspace)
    if remote is not None:
        from pipeline.remote.saes import send_sae

        for run in runs:
            send_sae(workspace, remote, run)

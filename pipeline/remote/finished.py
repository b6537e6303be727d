"""Sending all that a workspace has finished, whether or not a study asks for it again."""

from __future__ import annotations

import re

from pipeline.corpus.pack import open_corpus
from pipeline.progress import Report
from pipeline.remote.place import remote_of
from pipeline.remote.where_named import keep_saes, keep_source
from pipeline.store.layout import StoreFolder
from pipeline.study.names import Site
from pipeline.study.on_disk import cells_on_disk
from pipeline.study.registry import Registry
from pipeline.training.identity import identify
from pipeline.workspace import Workspace

_COMPLETE = re.compile(r"([a-z_]+\.[0-9]+)\.json")


def send_finished(workspace: Workspace, report: Report) -> None:
    """Sends complete sources, and finished SAEs that a study still names, where they are not yet.

    Raises RemoteError.
    """
    remote = remote_of(workspace)
    for path in sorted(workspace.activations.glob("*/*/manifests/*.json")):
        site = _COMPLETE.fullmatch(path.name)
        if site is not None:
            keep_source(StoreFolder(path.parents[1], remote), Site.parse(site[1]), report)
    for cell in cells_on_disk(workspace, Registry.load(workspace)):
        if open_corpus(workspace, cell.source.model, cell.model) is not None:
            keep_saes(workspace, [identify(workspace, cell)])

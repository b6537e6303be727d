"""Activations at a remote place: sent when they are complete, found there before they are made.

A site is there when its manifest is, which is sent last; so a sender that dies leaves nothing that
a reader believes, and goes on at the shard where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline import atomic
from pipeline.errors import RemoteError
from pipeline.locks import turn
from pipeline.progress import Progress, Report
from pipeline.remote.objects import objects_at
from pipeline.remote.place import Remote
from pipeline.remote.shards import fetch, open_shard, send
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import SiteManifest, StoredArray, StoreManifest, read_manifest
from pipeline.store.shard_file import shard_count
from pipeline.study.names import Site
from pipeline.workspace import Workspace


def bring_source(folder: StoreFolder, site: Site) -> bool:
    """Makes a site that lies at the remote place complete here; its shards come when they are read.

    A site whose harvest was begun here goes on here. Raises RemoteError.
    """
    if folder.remote is None or folder.site_manifest(site).exists():
        return False
    begun = folder.calibration_manifest(site).exists() or folder.parts(site).exists()
    if begun and _marked(folder, site) != folder.remote.url:
        return False
    objects, key = objects_at(folder.remote.url), folder.remote.key
    if not folder.manifest.exists() and objects.size(key(folder.manifest)) is not None:
        _bring_shared(folder)
    if objects.size(key(folder.site_manifest(site))) is None:
        folder.kept(site).unlink(missing_ok=True)
        return False
    _mark(folder, site)  # first: whoever dies from here on is followed by one who goes on
    last = folder.site_manifest(site)
    for found in objects.keys(key(last.parent)):
        path = folder.remote.root / found
        if path.name.startswith(f"{site}.") and path != last:
            fetch(folder, path)
    for name in ("train", "mask", "calibration"):
        fetch(folder, _description(folder, f"{name}/{site}"))
    return fetch(folder, last)


def send_source(folder: StoreFolder, site: Site, report: Report) -> None:
    """Sends a complete site to the remote place, unless it is there already.

    Raises RemoteError where the place holds the site with other bytes.
    """
    remote = folder.remote
    if remote is None or _marked(folder, site) == remote.url:
        return
    with turn(Workspace(remote.root), f"send-{folder.root.name}-{site}"):
        if _marked(folder, site) == remote.url:
            return
        manifest = read_manifest(SiteManifest, folder.site_manifest(site))
        shared = read_manifest(StoreManifest, folder.manifest)
        assert manifest is not None
        assert shared is not None
        _send_shared(folder, shared, report)
        there = objects_at(remote.url).read(remote.key(folder.site_manifest(site)))
        if there is None:
            _send_site(folder, site, manifest, report)
        elif not _same(manifest, SiteManifest.model_validate_json(there)):
            raise _others(remote, folder.site_manifest(site))
        _mark(folder, site)


def send_mended(folder: StoreFolder, site: Site, shards: Sequence[tuple[StoredArray, int]]) -> None:
    """Sends what was mended here to the remote place, where the site lies there."""
    if folder.remote is None or _marked(folder, site) != folder.remote.url:
        return
    for array, number in shards:
        send(folder, folder.shard(array, number))
    for path in (folder.statistics(site), folder.gaussian(site)):
        if path.exists():
            send(folder, path)


def _send_site(folder: StoreFolder, site: Site, manifest: SiteManifest, report: Report) -> None:
    for array in (manifest.calibration.array, manifest.mask, manifest.train):
        _send_array(folder, array, folder.sending(site), report)
    last = folder.site_manifest(site)
    passing = (folder.recorded(site), folder.sending(site), folder.kept(site), last)
    for path in sorted(last.parent.glob(f"{site}.*")):
        if path not in passing and ".partial-" not in path.name:
            send(folder, path)
    send(folder, last)
    folder.sending(site).unlink(missing_ok=True)


def _send_array(folder: StoreFolder, array: StoredArray, journal: Path, report: Report) -> None:
    """Sends an array's shards, each checked before, from where the journal says it stopped."""
    assert folder.remote is not None
    url, n = folder.remote.url, shard_count(array)
    sent = _journal(journal, url)
    for number in range(sent.get(array.name, 0), n):
        with open_shard(folder, array, number) as shard:
            shard.verify()
        send(folder, folder.shard(array, number))
        sent[array.name] = number + 1
        atomic.write_json(journal, {"url": url, "sent": sent})
        report(Progress("send", number + 1, n, "shards", f"{array.name} to {url}"))
    send(folder, _description(folder, array.name))


def _send_shared(folder: StoreFolder, shared: StoreManifest, report: Report) -> None:
    """What all sites share: where rows come from, how uniform their order is."""
    assert folder.remote is not None
    objects, key = objects_at(folder.remote.url), folder.remote.key
    there = objects.read(key(folder.manifest))
    if there is not None:
        if StoreManifest.model_validate_json(there) != shared:
            raise _others(folder.remote, folder.manifest)
        return
    journal = folder.root / "sending.json"
    _send_array(folder, shared.origin, journal, report)
    for path in (*sorted(folder.zarr.glob("zarr.json")), *sorted(folder.zarr.glob("*/zarr.json"))):
        send(folder, path)
    send(folder, folder.shuffle_quality)
    send(folder, folder.manifest)
    journal.unlink(missing_ok=True)


def _bring_shared(folder: StoreFolder) -> None:
    assert folder.remote is not None
    remote = folder.remote
    fetch(folder, folder.shuffle_quality)
    for path in (folder.zarr, *(folder.array(n) for n in ("train", "mask", "calibration"))):
        fetch(folder, path / "zarr.json")
    prefix = remote.key(folder.array("origin"))
    for found in objects_at(remote.url).keys(prefix):
        fetch(folder, remote.root / found)
    fetch(folder, folder.manifest)


def _description(folder: StoreFolder, name: str) -> Path:
    """What zarr reads of an array."""
    return folder.array(name) / "zarr.json"


def _same(ours: SiteManifest, theirs: SiteManifest) -> bool:
    """Whether two harvests of a site have the same bytes; when they were made may differ."""
    return (ours.train, ours.mask, ours.calibration) == (
        theirs.train,
        theirs.mask,
        theirs.calibration,
    )


def _others(remote: Remote, path: Path) -> RemoteError:
    return RemoteError(
        f"{remote.address(path)} describes the same store with other bytes: it was harvested on "
        "another kind of device or with other libraries. What was made here stays here. To share "
        "theirs, remove the store's folder here; to share this one, name another place with "
        "`sae remote URL`."
    )


def _mark(folder: StoreFolder, site: Site) -> None:
    assert folder.remote is not None
    atomic.write_json(folder.kept(site), {"url": folder.remote.url})


def _marked(folder: StoreFolder, site: Site) -> str | None:
    path = folder.kept(site)
    return str(json.loads(path.read_text())["url"]) if path.exists() else None


def _journal(path: Path, url: str) -> dict[str, int]:
    value = json.loads(path.read_text()) if path.exists() else {}
    return {str(k): int(v) for k, v in value["sent"].items()} if value.get("url") == url else {}

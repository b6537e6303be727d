"""SAEs at a remote place: a folder's files, their checksums last, and its row of the tables.

An SAE is there when its files.json is: it names every file with its sha256, and holds the rows of
`saes` as they were written, since tables stay with a workspace.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline import atomic
from pipeline.errors import RemoteError
from pipeline.hashing import file_hash
from pipeline.remote.objects import Objects, objects_at
from pipeline.remote.place import Remote, checked_url
from pipeline.training.identity import Run
from pipeline.training.record import CHECKPOINT_FILE, DONE_FILE, SAE_FILE, read_curve
from pipeline.workspace import Workspace

FILES = "files.json"
_KEPT = "remote.json"


def bring_sae(workspace: Workspace, remote: Remote, run: Run) -> bool:
    """Makes an SAE that lies at the remote place exist here, its rows too; whether it does.

    One whose training was begun here goes on here. Raises RemoteError, for a damaged object too.
    """
    from pipeline.catalog.write import new_run_id, write_run

    if _is_begun(run.folder):
        return False
    objects = objects_at(remote.url)
    listed = _listed(objects, remote.key(run.folder / FILES))
    if listed is None:
        return False
    atomic.write_json(run.folder / _KEPT, {"url": remote.url})
    for name in sorted(listed["sha256"], key=lambda name: name == DONE_FILE):
        if name == DONE_FILE:  # the last: without it the SAE is not there
            rows = {"saes": listed["rows"], "training_curve": _curve_rows(run)}
            write_run(workspace, new_run_id("training"), rows, kind="training")
        _get(objects, remote, run.folder / name, listed["sha256"][name])
    return True


def send_sae(workspace: Workspace, remote: Remote, run: Run) -> None:
    """Sends a finished SAE to the remote place, unless it is there already.

    Raises RemoteError where the place holds one of the same hash with other weights.
    """
    done = (run.folder / DONE_FILE).exists()
    if done and _url(run.folder) != remote.url:
        _send(workspace, remote, run)
        atomic.write_json(run.folder / _KEPT, {"url": remote.url})


def remote_sae(address: str) -> bytes:
    """The bytes of the sae.safetensors at s3://bucket/prefix/saes/<source>/<recipe>.s<seed>/<hash8>.

    Raises RemoteError where none is there, and for a damaged object.
    """
    folder = checked_url(address).removesuffix(f"/{SAE_FILE}")
    objects = objects_at(folder)
    listed = _listed(objects, FILES)
    if listed is None or SAE_FILE not in listed["sha256"]:
        raise RemoteError(
            f"{folder} holds no finished SAE. Give the folder of one, such as "
            "s3://bucket/prefix/saes/<source>/<recipe>.s<seed>/<hash8>."
        )
    data = objects.read(SAE_FILE)
    if data is None or hashlib.sha256(data).hexdigest() != listed["sha256"][SAE_FILE]:
        raise _damaged(f"{folder}/{SAE_FILE}")
    return data


def _get(objects: Objects, remote: Remote, path: Path, sha256: str) -> None:
    try:
        objects.get(remote.key(path), path)
    except FileNotFoundError as error:
        raise _damaged(remote.address(path)) from error
    if file_hash(path) != sha256:
        path.unlink()
        raise _damaged(remote.address(path))


def _send(workspace: Workspace, remote: Remote, run: Run) -> None:
    objects, last = objects_at(remote.url), run.folder / FILES
    hashes = {
        path.name: file_hash(path)
        for path in sorted(run.folder.iterdir())
        if path.is_file() and path.name not in (FILES, _KEPT) and ".partial-" not in path.name
    }
    there = _listed(objects, remote.key(last))
    if there is not None:
        if there["sha256"].get(SAE_FILE) != hashes.get(SAE_FILE):
            raise RemoteError(
                f"{remote.address(run.folder)} holds other weights of {run.name}: it was trained "
                "on another kind of machine as well. What was made here stays here. To share "
                f"theirs, remove {run.folder}; to share this one, name another place with "
                "`sae remote URL`."
            )
        return
    for name in hashes:
        objects.put(run.folder / name, remote.key(run.folder / name))
    atomic.write_json(last, {"sha256": hashes, "rows": _sae_rows(workspace, run)})
    objects.put(last, remote.key(last))


def _sae_rows(workspace: Workspace, run: Run) -> list[dict[str, Any]]:
    """The SAE's row of `saes` as it was written, without the run that wrote it."""
    from pipeline.catalog.tables import TABLES
    from pipeline.catalog.warehouse import query

    names = ", ".join(f'"{column.name}"' for column in TABLES["saes"].columns)
    found = query(workspace, f"SELECT {names} FROM saes WHERE sae_hash = '{run.sae_hash}'")
    return list(found.to_pylist())


def _curve_rows(run: Run) -> list[dict[str, object]]:
    about = {"sae": run.name, "sae_hash": run.sae_hash}
    return [about | row._asdict() for row in read_curve(run.folder).rows]


def _listed(objects: Objects, key: str) -> dict[str, Any] | None:
    data = objects.read(key)
    if data is None:
        return None
    try:
        value: dict[str, Any] = json.loads(data)
        _ = value["sha256"], value["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(f"{objects.url}/{key}") from error
    return value


def _damaged(address: str) -> RemoteError:
    return RemoteError(
        f"{address} is damaged or missing: its sha256 is not the one it was sent with. Remove the "
        "folder there; the next run of its study trains the SAE where it is missing, or sends it "
        "from a workspace that has it once `remote.json` is removed from its folder there."
    )


def _is_begun(folder: Path) -> bool:
    """Whether the SAE is here, or was begun here; one that was half brought is neither."""
    if (folder / DONE_FILE).exists():
        return True
    return (folder / CHECKPOINT_FILE).exists() and not (folder / _KEPT).exists()


def _url(folder: Path) -> str | None:
    path = folder / _KEPT
    return str(json.loads(path.read_text())["url"]) if path.exists() else None

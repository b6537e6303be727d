"""Which remote place a workspace has, and where in it things lie.

<url>/activations/<model>.<weights>/<hash8>/...   the files of the store, under the names they have
<url>/saes/<source>/<recipe>.s<seed>/<hash8>/...  here, so that zarr and `load` open them there too
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import atomic
from pipeline.errors import RemoteError
from pipeline.workspace import Workspace

SCHEMES = ("s3", "file")
CACHE_GB = 50.0
_FILE = "remote.json"


@dataclass(frozen=True)
class Remote:
    """A remote place: `url` without a slash at its end, and how much of it is kept here.

    `root` is the workspace; `cache_gb` bounds the shards in it that lie at `url` as well.
    """

    url: str
    root: Path
    cache_gb: float = CACHE_GB

    def key(self, path: Path) -> str:
        """What a file of the workspace is called below `url`."""
        return path.relative_to(self.root).as_posix()

    def address(self, path: Path) -> str:
        """What errors call it."""
        return f"{self.url}/{self.key(path)}"


def remote_of(workspace: Workspace) -> Remote | None:
    """The workspace's remote place; None where it has none, which is the default."""
    path = workspace.root / _FILE
    try:
        value = json.loads(path.read_text())
        return Remote(checked_url(value["url"]), workspace.root, float(value["cache_gb"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, RemoteError):
            raise
        raise RemoteError(
            f"{path} cannot be read ({error}). Name the remote place again: `sae remote URL`."
        ) from error


def set_remote(workspace: Workspace, url: str, *, cache_gb: float = CACHE_GB) -> Remote:
    """Gives the workspace a remote place; what it holds is sent when it is next made use of.

    Raises RemoteError for a URL of another kind.
    """
    remote = Remote(checked_url(url), workspace.root, cache_gb)
    value = {name: v for name, v in asdict(remote).items() if name != "root"}
    atomic.write_json(workspace.root / _FILE, value)
    return remote


def checked_url(url: str) -> str:
    """The URL without a slash at its end; raises RemoteError for one that is not understood."""
    parts = urlsplit(url)
    named = parts.netloc if parts.scheme == "s3" else parts.path.strip("/")
    if parts.scheme not in SCHEMES or not named or parts.query or parts.fragment:
        raise RemoteError(
            f"{url!r} is no remote place. Allowed: s3://bucket/prefix (endpoint, region and keys "
            "by AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) and "
            "file:///folder for a disk that several machines share."
        )
    return url.rstrip("/")

"""What a remote place holds, from the names of its objects."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.remote.objects import objects_at
from pipeline.remote.place import Remote
from pipeline.remote.shards import cached_shards

_SOURCE = re.compile(r"activations/([^/]+)/[0-9a-f]{8}/manifests/([a-z_]+\.[0-9]+)\.json")
_SAE = re.compile(r"saes/(.+)/files\.json")


@dataclass(frozen=True)
class Contents:
    """The sources and SAEs that are whole there; `cached_bytes` of their shards are here too."""

    sources: list[str]
    saes: list[str]
    cached_bytes: int


def contents(remote: Remote) -> Contents:
    """Lists the place; raises RemoteError."""
    keys = objects_at(remote.url).keys("")
    sources = [f"{m[1]}.{m[2]}" for key in keys if (m := _SOURCE.fullmatch(key))]
    saes = [m[1] for key in keys if (m := _SAE.fullmatch(key))]
    return Contents(sources, saes, sum(path.stat().st_size for path in cached_shards(remote)))

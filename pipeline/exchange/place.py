"""Where an SAE from elsewhere lies: a folder, a file, or a repository on the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ExchangeError

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)((?:/[\w.-]+)*)(?:@([\w./-]+))?")


@dataclass(frozen=True)
class Place:
    """A folder or file on this disk. `name`: what it is called; `revision`: its commit on the hub.

    `was_pinned`: whether the revision was asked for; otherwise it is the one that was found.
    """

    path: Path
    name: str
    revision: str | None = None
    was_pinned: bool = False


def located(text: str, *, revision: str | None = None) -> Place:
    """The place of a path, or of a hub id `owner/name[/subfolder][@revision]`, then downloaded.

    Raises ExchangeError where it is neither, UserError where the hub does not give it.
    """
    path = Path(text).expanduser()
    if path.exists():
        if revision is not None:
            raise ExchangeError(
                f"{text} is a local folder, which has no revision {revision!r}. Leave --revision "
                "out, or give a hub id that no folder here is named as."
            )
        return Place(path, path.resolve().name)
    match = _HUB_ID.fullmatch(text)
    if match is None:
        raise ExchangeError(
            f"{text!r} is neither a folder nor a hub id. Allowed: the folder of one SAE, or "
            "owner/name, with a subfolder and a revision where they are needed: "
            "owner/name/subfolder@revision."
        )
    from pipeline.exchange.hub import downloaded

    wanted = revision or match[3]
    snapshot, commit = downloaded(match[1], match[2].strip("/"), wanted)
    return Place(snapshot, match[1] + match[2], commit, was_pinned=wanted == commit)

"""Where packages and models would come from: the addresses that this machine is set up with.

Nothing is asked for over the network. Names and passwords in an address are not shown.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_PYPI = "https://pypi.org/simple"
_HUB = "https://huggingface.co"
_YES = ("1", "true", "yes", "on")


def package_index() -> str:
    """The index that pip takes packages from, and where that is said."""
    given = os.environ.get("PIP_INDEX_URL")
    if given:
        return f"{_shown(given)} (PIP_INDEX_URL)"
    for path in _pip_files():
        told = configparser.RawConfigParser()
        try:
            told.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            return f"not known: {path} cannot be read ({type(error).__name__})"
        for section in ("install", "global"):
            if told.has_option(section, "index-url"):
                return f"{_shown(told.get(section, 'index-url'))} ({path})"
    return f"{_PYPI} (pip's own)"


def hub() -> str:
    """The hub that models and data sets come from, or that none is asked."""
    place = _shown(os.environ.get("HF_ENDPOINT") or _HUB)
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _YES:
        return f"{place}, not asked: HF_HUB_OFFLINE is set"
    return place


def _pip_files() -> Iterator[Path]:
    """Files that pip reads on Linux and Macs, what decides first: those missing are left out."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    given = os.environ.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return
    names = [
        *([Path(given)] if given else []),
        Path(sys.prefix) / "pip.conf",
        config / "pip" / "pip.conf",
        home / "Library" / "Application Support" / "pip" / "pip.conf",
        home / ".pip" / "pip.conf",
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
    ]
    yield from (path for path in names if path.is_file())


def _shown(address: str) -> str:
    parts = urlsplit(address.strip())
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))

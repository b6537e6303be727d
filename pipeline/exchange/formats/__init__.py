"""The formats, discovered from the names of the files here: one file is one package's format.

A file defines PACKAGE and VERSION (the one it was checked with), `recognises(place)`, whether a
folder or file is of this format, and `read(place)`, a Foreign. A format that can be written
defines besides `fitted(plain)`, the exact rewriting of a plain SAE that the format holds, which
raises CannotHold where there is none, `files(plain, about)`, the bytes of its files by name, and
LOADS, the lines of Python that load `folder` with the package.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from pipeline.errors import ExchangeError, did_you_mean


def names() -> list[str]:
    """The formats' names, sorted; imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def format_named(name: str) -> ModuleType:
    """The format of a name; raises ExchangeError for an unknown one."""
    if name not in names():
        raise ExchangeError(f"{name!r} is not a format. {did_you_mean(name, names())}")
    return importlib.import_module(f"{__name__}.{name}")


def written_format(name: str) -> ModuleType:
    """The same, of a format that can be written; raises ExchangeError otherwise."""
    if name not in written_names():
        raise ExchangeError(
            f"{name!r} is not a format that is written. {did_you_mean(name, written_names())}"
        )
    return format_named(name)


def written_names() -> list[str]:
    """The names of the formats that can be written."""
    return [name for name in names() if hasattr(format_named(name), "files")]


def format_of(place: Path) -> ModuleType:
    """The format of a folder or file; raises ExchangeError where none recognises it."""
    if not place.exists():
        raise ExchangeError(f"{place} does not exist. Give the folder of one SAE, or a hub id.")
    for name in names():
        module = format_named(name)
        if module.recognises(place):
            return module
    found = sorted(path.name for path in place.iterdir()) if place.is_dir() else [place.name]
    raise ExchangeError(
        f"{place} holds no SAE of a known format; it holds: {', '.join(found[:12]) or 'nothing'}. "
        f"Formats: {', '.join(names())}. Give the folder that holds the weights and their "
        "configuration (of several SAEs, one's own subfolder)."
    )

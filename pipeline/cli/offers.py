"""What a shell offers for a name: read from file names and study records, without any table.

A key press waits for these, so they load nothing heavy and answer nothing where nothing is known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline.workspace import default_root

Offer = Callable[[str], list[str]]


def studies(incomplete: str) -> list[str]:
    """Names of registered studies."""
    return _starting(incomplete, (one["study"] for one in _registrations()))


def study_or_file(incomplete: str) -> list[str]:
    """Names of registered studies, and study files and folders of this directory."""
    head, _, tail = incomplete.rpartition("/")
    folder = Path(head or ("/" if incomplete.startswith("/") else "."))
    found = sorted(folder.glob(f"{_literal(tail)}*")) if folder.is_dir() else []
    place = incomplete.removesuffix(tail)
    files = [f"{place}{path.name}" for path in found if path.suffix in (".yaml", ".yml")]
    folders = [f"{place}{path.name}/" for path in found if path.is_dir()]
    return [*studies(incomplete), *files, *folders]


def saes(incomplete: str) -> list[str]:
    """Ids of SAEs that are there, `<source>/<recipe>.s<seed>`."""
    root = _root() / "saes"
    ids = (f"{path.parent.name}/{path.name}" for path in root.glob("*/*") if path.is_dir())
    return _starting(incomplete, ids)


def models(incomplete: str) -> list[str]:
    """Models of registered studies, in a list separated by commas."""
    return _last_of_list(incomplete, _names("models"))


def recipes(incomplete: str) -> list[str]:
    """Recipes of registered studies, in a list separated by commas."""
    return _last_of_list(incomplete, _names("recipes"))


def weights(incomplete: str) -> list[str]:
    """Weights variants of registered studies, in a list separated by commas."""
    return _last_of_list(incomplete, _names("weights"))


def kinds(incomplete: str) -> list[str]:
    """Kinds of site of registered studies, in a list separated by commas."""
    return _last_of_list(incomplete, (site.rpartition(".")[0] for site in _names("sites")))


def _names(part: str) -> list[str]:
    """The names under one key of the studies: those of a mapping, or a list's entries."""
    return [str(name) for one in _registrations() for name in one["content"].get(part) or ()]


def _registrations() -> list[dict[str, Any]]:
    paths = sorted((_root() / "studies").glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _root() -> Path:
    """The workspace that the line so far names, else the one that a command would take."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    words = line.replace("=", " ").split()
    if "--workspace" in words[:-1]:
        return Path(words[words.index("--workspace") + 1]).expanduser()
    return Path(default_root()).expanduser()


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _last_of_list(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    taken = set(before.split(","))
    return [before + comma + name for name in _starting(last, names) if name not in taken]


def _literal(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)

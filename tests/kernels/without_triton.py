"""A pytest plugin, `-p tests.kernels.without_triton`: triton cannot be found, as on a Mac."""

from __future__ import annotations

import importlib.machinery
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_find = importlib.machinery.PathFinder.find_spec


def _find_spec(
    name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
) -> ModuleSpec | None:
    return None if name.partition(".")[0] == "triton" else _find(name, path, target)


importlib.machinery.PathFinder.find_spec = staticmethod(_find_spec)

"""The field's claims that this pipeline tests: every file here that has a CLAIM is found."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pipeline.claims.claim import Claim

__all__ = ["Claim", "claims"]


@cache
def claims() -> tuple[Claim, ...]:
    """Every claim, sorted by name; a claim's name is that of its file. Light: loads no torch."""
    found = [
        getattr(importlib.import_module(f"{__name__}.{module.name}"), "CLAIM", None)
        for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
    ]
    return tuple(claim for claim in found if claim is not None)

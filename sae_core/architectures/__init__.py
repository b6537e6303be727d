"""The architectures, discovered from the names of the files here: one file is one architecture.

A file defines CONFIG (its SaeConfig subclass) and SAE (its Sae subclass). It is imported only when
its configuration or module is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sae_core.config import SaeConfig
    from sae_core.sae import Sae


def names() -> list[str]:
    """The architectures' names, sorted; imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def config_class(name: str) -> type[SaeConfig]:
    """The configuration class of an architecture; raises ValueError for an unknown name."""
    return _module(name).CONFIG


def build(config: SaeConfig, *, width: int, further: tuple[int, ...] = ()) -> Sae:
    """An SAE of this configuration for activations of `width` d; its parameters are zeros.

    `further` are the widths of the sites that its configuration names besides its source's.
    Raises ValueError where an architecture of one site is given several, or the other way round.
    """
    if bool(further) != (config.inputs == "sites"):
        raise ValueError(
            f"{config.architecture} was given further sites of widths {further}. Allowed: some "
            "where a configuration names sites, none otherwise. Pass the widths of those it names."
        )
    sae = _module(config.architecture).SAE
    return sae(config, width=width, further=further) if further else sae(config, width=width)


def _module(name: str) -> ModuleType:
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}?" if near else "Use one of them."
        raise ValueError(
            f"{name!r} is not an architecture. Architectures: {', '.join(known)}. {hint}"
        )
    return importlib.import_module(f"{__name__}.{name}")

"""Everything with a path, a model, a process or a table; `from pipeline import load` for SAEs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.load_sae import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Late, so that the command line's help and the graph's definitions load without torch.
    if name == "load":
        from pipeline.load_sae import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

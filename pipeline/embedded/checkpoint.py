"""The trainer's state on disk: one file, replaced whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.atomic import writing
from pipeline.errors import UserError


@dataclass
class Progress:
    """Where training stands: leg and batch to do next, live and trunk tensors, measured rows.

    live: model and optimiser states now. trunk: the same where the running branch left the
    trunk, None on the trunk. rows: the curve so far.
    """

    leg: int = 0
    batch: int = 0
    live: dict[str, Any] = field(default_factory=dict)
    trunk: dict[str, Any] | None = None
    rows: list[dict[str, float]] = field(default_factory=list)


def save_progress(path: Path, progress: Progress) -> None:
    """Replace the checkpoint, whole or not at all."""
    import torch

    with writing(path) as temporary:
        torch.save(vars(progress), temporary)


def load_progress(path: Path) -> Progress | None:
    """The last complete checkpoint, None where there is none.

    Raises UserError where the file cannot be read.
    """
    import torch

    if not path.exists():
        return None
    try:
        return Progress(**torch.load(path, weights_only=True))
    except (RuntimeError, EOFError, OSError, TypeError, ValueError) as error:
        raise UserError(
            f"the checkpoint {path} cannot be read ({error}); checkpoints are replaced whole, so "
            "the disk has damaged it: delete it to begin anew, or give another --workdir."
        ) from error

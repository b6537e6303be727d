"""Which latents were dead when training ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import CheckpointError
from pipeline.training.checkpoint import read_checkpoint
from pipeline.training.record import CHECKPOINT_FILE

if TYPE_CHECKING:
    import numpy as np


def dead_when_training_ended(folder: Path, sae_hash: str, *, dead_window: int) -> np.ndarray:
    """Latents (f,) bool that had not fired for `dead_window` tokens at the last checkpoint.

    Raises CheckpointError where the folder has no readable training checkpoint.
    """
    checkpoint = read_checkpoint(folder, sae_hash)
    if checkpoint is None:
        raise CheckpointError(
            f"{folder} has no {CHECKPOINT_FILE}, so which latents died in training cannot be "
            "told. Put the file back, or delete the folder to train this SAE again."
        )
    return (checkpoint.state["since_fired"] >= dead_window).numpy()

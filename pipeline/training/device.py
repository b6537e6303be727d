"""Where SAEs train."""

from __future__ import annotations

import torch

from pipeline.errors import StudyError


def training_device(wanted: str) -> torch.device:
    """The device of a `device` setting; 'auto' is a CUDA GPU where there is one, else the CPU.

    Raises StudyError for a device that this machine lacks.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    has_it = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }[device.type]
    if not has_it:
        raise StudyError(
            f"models.<name>.device is {wanted!r}, which this machine does not have. Allowed: "
            "'auto', 'cpu', or a GPU that torch finds. Use 'auto' or 'cpu'."
        )
    return device

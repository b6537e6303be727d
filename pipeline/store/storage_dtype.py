"""The types in which activations are stored.

zarr has no bfloat16: it is stored as its bits, uint16, and the manifest says what they are.
"""

from __future__ import annotations

import numpy as np
import torch

NAMES = ("float16", "bfloat16", "float32")
FLOAT16_MAX = 65504.0
HEADROOM = 4.0
_NUMPY = {
    "float16": "<f2",
    "bfloat16": "<u2",
    "float32": "<f4",
    "uint8": "|u1",
    "int64": "<i8",
}
_TORCH = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def numpy_dtype(name: str) -> np.dtype:
    """The type of the bytes on disk; little-endian."""
    return np.dtype(_NUMPY[name])


def torch_dtype(name: str) -> torch.dtype:
    """The type of the values."""
    return _TORCH[name]


def as_tensor(stored: np.ndarray, name: str) -> torch.Tensor:
    """The values of stored bytes as a tensor that shares their memory."""
    if name == "bfloat16":
        return torch.from_numpy(stored.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(stored)


def choose(requested: str, largest: float) -> str:
    """The storage type: the requested one; for `auto` float16 where it has headroom.

    `largest` is the largest finite |x| of the calibration split. float16 where
    4 · largest <= 65504, so that a value four times as large still fits; else bfloat16.
    """
    if requested != "auto":
        return requested
    return "float16" if largest <= FLOAT16_MAX / HEADROOM else "bfloat16"

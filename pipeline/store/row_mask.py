"""Which rows are left out of training; no row is ever dropped for its value."""

from __future__ import annotations

import numpy as np
import torch

OK, NONFINITE, HIGH_NORM = 0, 1, 2


def row_mask(values: torch.Tensor, max_norm: float | None) -> np.ndarray:
    """0 ok, 1 non-finite, 2 where ‖x‖ > `max_norm`, for stored values (n, d); (n,) uint8."""
    norms = torch.linalg.vector_norm(values.float(), dim=1)
    mask = np.zeros(len(values), np.uint8)
    if max_norm is not None:
        mask[(norms > max_norm).numpy()] = HIGH_NORM
    # A finite norm has finite entries only: few rows are looked at twice.
    suspects = torch.nonzero(~torch.isfinite(norms)).flatten()
    if len(suspects):
        broken = ~torch.isfinite(values[suspects]).all(dim=1)
        mask[suspects[broken].numpy()] = NONFINITE
    return mask

"""Memory for batches, used again once nobody holds the batch."""

from __future__ import annotations

import sys

import numpy as np
import torch

_KEPT = 8


class BatchMemory:
    """Gives tensors (rows, width) fp32; memory whose tensor and views are gone is given again.

    Fresh memory of this size costs more in page faults than filling it. A tensor made from an
    array keeps a reference to it for as long as any view of the tensor lives, so an array that
    nobody but this object refers to is free.
    """

    def __init__(self, rows: int, width: int) -> None:
        self._shape = (rows, width)
        self._arrays: list[np.ndarray] = []
        self._idle_references = 0

    def take(self) -> torch.Tensor:
        """A tensor whose content is arbitrary."""
        for index in range(len(self._arrays)):
            if sys.getrefcount(self._arrays[index]) == self._idle_references:
                return torch.from_numpy(self._arrays[index])
        array = np.empty(self._shape, np.float32)
        if len(self._arrays) < _KEPT:
            self._arrays.append(array)
            del array
            self._idle_references = sys.getrefcount(self._arrays[-1])
            return torch.from_numpy(self._arrays[-1])
        return torch.from_numpy(array)

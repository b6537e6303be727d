"""Sizes that numbers decide, guessed: so that host code walks on over tensors without numbers.

Tensors of the `meta` device have shapes alone. An operation that counts entries on the device and
reads the count cannot go on with them; within this mode it is given a guess. What is launched
afterwards depends on a size through its type and divisibility alone, so that two guesses, one
divisible by 16 and one not, show every launch that any number would.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class GuessedSizes(TorchDispatchMode):
    """Within the block `entries` are found where entries are searched for (fewer where there are
    not as many), numbers that are read are `entries`, true or 0.5, and splits are even, or `odd`:
    one more in the first part."""

    def __init__(self, entries: int, *, odd: bool) -> None:
        super().__init__()
        self.entries, self.odd = entries + odd, odd

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Answers what the `meta` device cannot."""
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        on_meta = bool(args) and torch.is_tensor(args[0]) and args[0].is_meta
        if not on_meta:
            return func(*args, **kwargs)
        if name == "nonzero":
            return torch.stack(self._places(args[0]), 1)
        if name in ("index", "index_put", "index_put_"):
            return func(args[0], self._indices(args[1]), *args[2:], **kwargs)
        if name == "_local_scalar_dense":
            return self._number(args[0].dtype)
        if name == "_to_copy" and torch.device(kwargs.get("device", "meta")).type == "cpu":
            dtype = kwargs.get("dtype") or args[0].dtype
            return torch.full(args[0].shape, self._number(dtype), dtype=dtype)
        if name == "split_with_sizes":
            dim = args[2] if len(args) > 2 else 0
            return func(args[0], self._parts(args[0].shape[dim], len(args[1])), dim)
        return func(*args, **kwargs)

    def _places(self, mask: torch.Tensor) -> list[torch.Tensor]:
        number = min(self.entries, mask.numel())
        return [torch.empty(number, dtype=torch.int64, device="meta") for _ in mask.shape]

    def _indices(self, given: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
        found: list[torch.Tensor | None] = []
        for index in given:
            is_mask = index is not None and index.dtype is torch.bool
            found += self._places(index) if is_mask else [index]
        return found

    def _number(self, dtype: torch.dtype) -> float | int | bool:
        if dtype is torch.bool:
            return True
        return 0.5 if dtype.is_floating_point else self.entries

    def _parts(self, whole: int, count: int) -> list[int]:
        parts = [whole // count] * count
        parts[-1] += whole - sum(parts)
        if self.odd and count > 1 and parts[-1]:
            parts[0], parts[-1] = parts[0] + 1, parts[-1] - 1
        return parts

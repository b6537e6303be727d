"""Ranks that are threads of one process: the exchanges without any process or network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")
_SECONDS = 60.0


class ThreadRank:
    """One of `size` threads that wait for one another at every exchange."""

    def __init__(
        self, index: int, size: int, barrier: threading.Barrier, table: list[torch.Tensor | None]
    ) -> None:
        self.index, self.size, self._barrier, self._table = index, size, barrier, table
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    def __deepcopy__(self, memo: object) -> ThreadRank:
        return self

    def gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        self.calls.append(("gathered", tuple(tensor.shape)))
        return torch.stack(self._all(tensor))

    def exchanged(self, tensor: torch.Tensor) -> torch.Tensor:
        self.calls.append(("exchanged", tuple(tensor.shape)))
        return torch.stack([other[self.index] for other in self._all(tensor)])

    def _all(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        self._table[self.index] = tensor.detach()
        self._barrier.wait(_SECONDS)
        found = [other.clone() for other in self._table if other is not None]
        self._barrier.wait(_SECONDS)
        return found


def on_ranks(size: int, work: Callable[[ThreadRank], Result]) -> list[Result]:
    """What `work` gives on each rank; the first error of any of them."""
    barrier, table = threading.Barrier(size), [None] * size
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            results[index] = work(ThreadRank(index, size, barrier, table))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall see it
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        own = [e for e in errors if not isinstance(e, threading.BrokenBarrierError)]
        raise (own or errors)[0]
    return [results[index] for index in range(size)]

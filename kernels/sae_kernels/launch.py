"""Launches of compiled kernels: run them, or only record what would be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch


class Launch(NamedTuple):
    """One launch: everything that decides which machine code runs, and over what grid."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constants: dict[str, Any]
    num_warps: int
    num_stages: int


_recorder: ContextVar[list[Launch] | None] = ContextVar("recorder", default=None)


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Within the block kernels are not run: their launches are listed instead.

    With tensors on the `meta` device an operation walks through its host code with real shapes
    and no memory, and the list says which kernels it would run, in which configuration.
    """
    launches: list[Launch] = []
    token = _recorder.set(launches)
    try:
        yield launches
    finally:
        _recorder.reset(token)


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    arguments: Mapping[str, Any],
    *,
    constants: Mapping[str, Any],
    num_warps: int = 4,
    num_stages: int = 2,
) -> None:
    """Runs a kernel over a grid on the device of its first tensor; an empty grid runs nothing.

    Kernels compute addresses from sizes: every tensor has to be contiguous, and an assertion names
    one that is not.
    """
    for name, argument in arguments.items():
        assert not torch.is_tensor(argument) or argument.is_contiguous(), name
    recorder = _recorder.get()
    if recorder is not None:
        made = Launch(kernel, grid, dict(arguments), dict(constants), num_warps, num_stages)
        recorder.append(made)
        return
    if 0 in grid:
        return
    tensors: Iterator[torch.Tensor] = (a for a in arguments.values() if torch.is_tensor(a))
    with _on(next(tensors).device):
        kernel[grid](
            **arguments,
            **constants,
            num_warps=num_warps,
            num_stages=num_stages,
            enable_fp_fusion=True,
        )


def _on(device: torch.device) -> Any:
    guard: Callable[[torch.device], Any] = torch.cuda.device
    return guard(device) if device.type == "cuda" else nullcontext()

"""Ranks that are processes of a torch elastic group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import StudyError

if TYPE_CHECKING:
    import torch


class ProcessRanks:
    """This process among those of the default group of torch.distributed."""

    def __init__(self, index: int, size: int) -> None:
        self.index, self.size = index, size

    def gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        """What every rank gave, (size, *shape)."""
        import torch
        import torch.distributed as dist

        own = tensor.contiguous()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own)
        return torch.stack(parts)

    def exchanged(self, tensor: torch.Tensor) -> torch.Tensor:
        """Row r of what comes back is from rank r."""
        import torch
        import torch.distributed as dist

        own = tensor.contiguous()
        found = torch.empty_like(own)
        dist.all_to_all_single(found, own)
        return found


@contextmanager
def joined(device: torch.device) -> Iterator[ProcessRanks]:
    """The ranks of this process's group, as torchrun's variables describe it.

    Raises StudyError where this process is not of such a group.
    """
    import torch
    import torch.distributed as dist

    if "RANK" not in os.environ:
        raise StudyError(
            "This process is not one of several ranks: torchrun sets RANK and WORLD_SIZE. Start "
            "a study with `sae run STUDY --launch torchrun`."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, size = next(dist.rendezvous("env://"))
    # torch elastic keeps one store over restarts: without this, ranks of a new start would find
    # the addresses of those that died (seen with torch 2.13).
    store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield ProcessRanks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()

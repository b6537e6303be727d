"""Random draws keyed by what they are for, never by what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, *, step: int = 0) -> torch.Generator:
    """A CPU generator that depends on (seed, purpose, step) alone."""
    key = hashlib.blake2b(f"{purpose}/{seed}/{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)


def sent(drawn: torch.Tensor, device: torch.device) -> torch.Tensor:
    """What was made on the CPU, on a device, without waiting for what the device is doing.

    From pageable memory a copy to a GPU waits for all work before it.
    """
    pinned = drawn.pin_memory() if device.type == "cuda" else drawn
    return pinned.to(device, non_blocking=True)

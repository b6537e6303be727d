"""Random draws keyed by what they are for, never by what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, *, step: int = 0) -> torch.Generator:
    """A CPU generator that depends on (seed, purpose, step) alone."""
    key = hashlib.blake2b(f"{purpose}/{seed}/{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)

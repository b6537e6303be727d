"""Inputs of jumprelu: multiples of 1/8, so that values lie on thresholds and windows' edges."""

from __future__ import annotations

import torch

GRADIENTS = ("z", "threshold")
SIZES = {"n": (1, 3, 33, 150), "f": (1, 3, 33), "to_z": (0, 1), "eighths": (1, 4)}
EXAMPLES = (
    {"n": 0, "f": 5, "to_z": 0, "eighths": 4},
    {"n": 140, "f": 300, "to_z": 1, "eighths": 4},
    {"n": 33, "f": 17, "to_z": 0, "eighths": 2},
)
COMPILED = (
    {"n": 8192, "f": 24576, "to_z": 0, "eighths": 4},
    {"n": 8192, "f": 24576, "to_z": 1, "eighths": 4},
)


def make(
    generator: torch.Generator, *, n: int, f: int, to_z: int, eighths: int, zeros: bool
) -> dict:
    """Pre-activations around thresholds; `zeros` adds zero tokens and thresholds of 0."""
    z = torch.randint(-16, 17, (n, f), generator=generator) / 8
    threshold = torch.randint(0, 9, (f,), generator=generator) / 8
    if zeros:
        z[:1], threshold[: f // 2] = 0, 0
    return {"z": z, "threshold": threshold, "bandwidth": eighths / 8, "to_z": bool(to_z)}

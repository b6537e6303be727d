"""The default language model that the project trained itself, and its pre-training curve."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

EMBEDDED_MODEL_DIR = Path(__file__).parent / "pylm"


@dataclass(frozen=True)
class CurvePoint:
    """The annealed model after some training: tokens seen, FLOPs spent, held-out nats per token."""

    tokens: int
    flops: float
    held_out_loss_nats: float


def pretraining_curve(folder: Path = EMBEDDED_MODEL_DIR) -> list[CurvePoint]:
    """The pre-training curve shipped with a model folder, ascending in tokens."""
    rows = json.loads((folder / "pretraining_curve.json").read_text())
    return [CurvePoint(**row) for row in rows]

"""Meta-SAE: BatchTopK, whatever the rows are."""

from __future__ import annotations

from . import batch_topk

SETTINGS = batch_topk.SETTINGS | {"dictionary": "topk.s0"}
RECOVERY = batch_topk.RECOVERY
loss = batch_topk.loss

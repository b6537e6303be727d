"""Losses of every prediction as other packages splice: special tokens replaced or ablated, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.evaluation.edited_batch import EditedBatch
from pipeline.evaluation.sums import Sums
from sae_core.metrics.token_metric import EveryPrediction
from sae_core.sae import Sae


def add_every_prediction(sums: Sequence[Sums], begun: EditedBatch) -> None:
    """Adds a batch's predictions to the metrics that look at all of them."""
    if not sums:
        return
    assert begun.clean is not None
    zero = begun.losses_everywhere(torch.zeros_like(begun.x))
    documents = begun.batch.documents[:, :-1].flatten()
    special = begun.batch.special
    special = special[:, :-1].flatten(), special[:, 1:].flatten()
    for one in sums:
        sae = one.candidate.sae
        losses = (
            begun.clean.loss,
            begun.losses(_reconstructed(sae, begun.rows)).loss,
            begun.losses_everywhere(_reconstructed(sae, begun.x.flatten(0, 1)).view_as(begun.x)),
            zero,
        )
        clean, spliced, everywhere, none = (loss.flatten() for loss in losses)
        one.add(EveryPrediction(clean, spliced, everywhere, none, *special), documents)


def _reconstructed(sae: Sae, rows: torch.Tensor) -> torch.Tensor:
    if not len(rows):
        return rows
    rows = rows.float()
    return sae.reconstruct(rows, sae.encode(rows))

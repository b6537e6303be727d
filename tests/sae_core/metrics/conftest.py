from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sae_core.bootstrap import resample_counts
from sae_core.code import SparseCode
from sae_core.metrics import metrics
from sae_core.metrics.definition import Measured
from sae_core.metrics.token_metric import (
    Losses,
    Reconstruction,
    Setting,
    measure,
    sums_per_document,
)

Measure = Callable[..., dict[str, Measured]]


@pytest.fixture
def activations() -> torch.Tensor:
    """(400, 8): far from the origin, so that a careless variance loses its digits."""
    generator = torch.Generator().manual_seed(0)
    return 1e4 + torch.randn(400, 8, generator=generator, dtype=torch.float64)


@pytest.fixture
def measure_reconstruction() -> Measure:
    """Measures one metric of x_hat against x over 10 equal documents."""

    def measured(
        name: str, x: torch.Tensor, x_hat: torch.Tensor, code: SparseCode | None = None
    ) -> dict[str, Measured]:
        n = len(x)
        none = SparseCode(torch.zeros(n, 1, dtype=torch.int64), torch.zeros(n, 1), 4)
        batch = Reconstruction(x, x_hat, code or none, torch.full((4,), 2.0), x[0])
        return _measured(name, batch, n)

    return measured


@pytest.fixture
def measure_losses() -> Measure:
    """Measures one metric of per-token losses over 10 equal documents."""

    def measured(
        name: str, *, setting: Setting | None = None, **losses: torch.Tensor
    ) -> dict[str, Measured]:
        n = len(losses["clean"])
        filled = {key: losses.get(key, losses["clean"]) for key in Losses.__annotations__}
        return _measured(name, Losses(**filled), n, setting or Setting())

    return measured


def _measured(
    name: str, batch: Reconstruction | Losses, n: int, setting: Setting | None = None
) -> dict[str, Measured]:
    metric = metrics()[name]
    documents = torch.arange(n) * 10 // n
    table = sums_per_document(metric.per_token(batch), documents, 10).numpy()
    counts = resample_counts(10, 200, seed=0)
    assert table.dtype == np.float64
    return measure(metric, table, counts, setting or Setting())

"""A source's statistics as bytes, exact to the last bit."""

from __future__ import annotations

import torch
from safetensors.torch import load, save

from sae_core.statistics import SourceStatistics

_SCALARS = ("mean_norm", "mean_square_norm", "total_variance")


def statistics_to_bytes(statistics: SourceStatistics) -> bytes:
    """The statistics as a safetensors file."""
    scalars = [getattr(statistics, name) for name in _SCALARS]
    return save(
        {
            "mean": statistics.mean.contiguous(),
            "geometric_median": statistics.geometric_median.contiguous(),
            "scalars": torch.tensor(scalars, dtype=torch.float64),
            "n": torch.tensor([statistics.n], dtype=torch.int64),
        }
    )


def statistics_from_bytes(data: bytes) -> SourceStatistics:
    """The statistics of a safetensors file."""
    tensors = load(data)
    scalars = dict(zip(_SCALARS, tensors["scalars"].tolist(), strict=True))
    return SourceStatistics(
        mean=tensors["mean"],
        geometric_median=tensors["geometric_median"],
        n=int(tensors["n"]),
        **scalars,
    )

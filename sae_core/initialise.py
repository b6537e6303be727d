"""The parameters an SAE starts with."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from sae_core.draws import generator
from sae_core.sae import Sae
from sae_core.statistics import SourceStatistics


@torch.no_grad()
def initialise(
    sae: Sae, statistics: SourceStatistics, *, seed: int, init_rows: torch.Tensor | None = None
) -> None:
    """Sets scale and parameters: s with E‖s x‖² = d, unit directions, encoder = decoder transpose.

    Directions are random, or with `dictionary_init: data` centred rows of `init_rows` (m, d); b_dec
    starts at the source's geometric median, mean or 0. Draws depend on the seed alone.
    Raises ValueError for statistics of another width, constant activations, or missing rows.
    """
    _check(sae, statistics)
    scale = (statistics.width / statistics.mean_square_norm) ** 0.5
    sae.input_scale.fill_(scale)
    sae.b_dec.copy_(_centre(sae, statistics) * scale)
    directions = _directions(sae, seed=seed, init_rows=init_rows)
    sae.W_dec.copy_(directions)
    sae.W_enc.copy_(directions * sae.encoder_gain())
    sae.b_enc.zero_()


def _check(sae: Sae, statistics: SourceStatistics) -> None:
    if statistics.width != sae.width:
        raise ValueError(
            f"the statistics are of width {statistics.width}, the SAE is of width {sae.width}. "
            "Allowed: the same width. Build the SAE with the source's width."
        )
    if not (statistics.mean_square_norm > 0 and statistics.total_variance > 0):
        raise ValueError(
            f"these activations have mean square norm {statistics.mean_square_norm} and total "
            f"variance {statistics.total_variance}. Allowed: both above 0. Activations that never "
            "change cannot train an SAE: choose another site."
        )


def _centre(sae: Sae, statistics: SourceStatistics) -> torch.Tensor:
    if sae.config.bias_init == "zero":
        return torch.zeros(sae.width)
    return getattr(statistics, sae.config.bias_init)


def _directions(sae: Sae, *, seed: int, init_rows: torch.Tensor | None) -> torch.Tensor:
    if sae.config.dictionary_init == "random":
        draw = torch.randn(sae.n_latents, sae.width, generator=generator(seed, "dictionary"))
        return normalize(draw)
    if init_rows is None or len(init_rows) < sae.n_latents:
        raise ValueError(
            f"dictionary_init 'data' got {0 if init_rows is None else len(init_rows)} rows for "
            f"{sae.n_latents} latents. Allowed: at least as many rows. Pass more init_rows, or "
            "use dictionary_init 'random'."
        )
    chosen = torch.randperm(len(init_rows), generator=generator(seed, "dictionary"))
    rows = init_rows[chosen[: sae.n_latents].to(init_rows.device)]
    return normalize(sae.centred(rows.to(sae.b_dec.device)))

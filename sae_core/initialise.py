"""The parameters an SAE starts with."""

from __future__ import annotations

import copy

import torch
from torch.nn.functional import normalize

from sae_core.config import SaeConfig
from sae_core.draws import generator
from sae_core.sae import Sae
from sae_core.statistics import SourceStatistics, input_scale


@torch.no_grad()
def initialise(
    sae: Sae, statistics: SourceStatistics, *, seed: int, init_rows: torch.Tensor | None = None
) -> None:
    """Sets scale and parameters: s with E‖s x‖² = d, the dictionary, the encoder, b_dec.

    Directions are random, or with `dictionary_init: data` centred rows of `init_rows` (m, d). The
    encoder is the decoder's transpose or other random unit rows. Norms are the architecture's
    gains, by default 1, or the encoder's is the number that gives reconstructions of `init_rows`
    their inputs' size. b_dec starts at the source's geometric median, mean or 0. Draws depend on
    the seed alone.
    Raises ValueError for statistics of another width, constant activations, or missing rows.
    """
    _check(sae, statistics)
    scale = input_scale(statistics)
    sae.input_scale.fill_(scale)
    sae.b_dec.copy_(centre(sae.config, statistics) * scale)
    directions = _directions(sae, seed=seed, init_rows=init_rows)
    sae.W_dec.copy_(directions * sae.decoder_gain())
    rows = directions
    if sae.config.encoder_init == "independent":
        draw = torch.randn(sae.W_enc.shape, generator=generator(seed, "encoder"))
        rows = normalize(draw).to(directions.device)
    sae.W_enc.copy_(rows * sae.encoder_gain())
    sae.b_enc.zero_()
    sae.initialise_rest(seed=seed)
    sae.fit_start(init_rows)
    if sae.config.encoder_scale == "calibrated":
        sae.W_enc.mul_(_size_ratio(sae, init_rows))
        sae.fit_start(init_rows)


def check_varies(statistics: SourceStatistics) -> None:
    """Raises ValueError for activations that are all the same."""
    if not (statistics.mean_square_norm > 0 and statistics.total_variance > 0):
        raise ValueError(
            f"these activations have mean square norm {statistics.mean_square_norm} and total "
            f"variance {statistics.total_variance}. Allowed: both above 0. Activations that never "
            "change cannot train an SAE: choose another site."
        )


def centre(config: SaeConfig, statistics: SourceStatistics) -> torch.Tensor:
    """Where b_dec starts, (d,), in raw units."""
    if config.bias_init == "zero":
        return torch.zeros(statistics.width)
    return getattr(statistics, config.bias_init)


def _check(sae: Sae, statistics: SourceStatistics) -> None:
    if statistics.width != sae.width:
        raise ValueError(
            f"the statistics are of width {statistics.width}, the SAE is of width {sae.width}. "
            "Allowed: the same width. Build the SAE with the source's width."
        )
    check_varies(statistics)


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


def _size_ratio(sae: Sae, rows: torch.Tensor | None) -> torch.Tensor:
    """sqrt(Σ ‖x − b‖² / Σ ‖x̂ − b‖²) over calibration rows, b what no latent at all gives; 0-d.

    x̂ is made by a calibrated copy, so that rules that need thresholds have theirs. Where codes are
    homogeneous in the encoder (ReLU, TopK, BatchTopK with b_enc = 0) the ratio makes both equal.
    Differs from Gao et al. (2024), whose code measures on random unit vectors.
    """
    if rows is None or len(rows) == 0:
        raise ValueError(
            "encoder_scale 'calibrated' got no rows. Allowed: at least one. Pass init_rows, or use "
            "encoder_scale 'fixed'."
        )
    rows = rows.to(sae.b_dec.device)
    probe = copy.deepcopy(sae)
    probe.calibrate([rows])
    code = probe.encode(rows)
    silent = probe.reconstruct(rows, code._replace(values=torch.zeros_like(code.values)))
    made = (probe.reconstruct(rows, code) - silent).double().square().sum()
    if not made > 0:
        raise ValueError(
            "encoder_scale 'calibrated' found that all reconstructions are 0 at the start: no "
            "number gives them a size. Allowed: an SAE whose start reconstructs something. Use "
            "encoder_scale 'fixed'."
        )
    wanted = (rows - silent).double().square().sum()
    return (wanted / made).sqrt().to(sae.W_enc.dtype)

"""The parameters an SAE of several sites starts with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from sae_core.draws import generator
from sae_core.initialise import centre, check_varies
from sae_core.sites_sae import SitesSae
from sae_core.statistics import SourceStatistics, input_scale


@torch.no_grad()
def initialise_sites(
    sae: SitesSae,
    statistics: Sequence[SourceStatistics],
    *,
    seed: int,
    init_rows: torch.Tensor | None = None,
) -> None:
    """Sets scales and parameters: s_l with E‖s_l x^l‖² = d_l, unit directions, centred encoder.

    `statistics` of every site of a batch, in its order. Directions are random, or with
    `dictionary_init: data` centred rows of the written sites in `init_rows` (m, Σ d_l). The encoder
    is the decoder's transpose or other random unit rows (always where other sites are read than
    written: they share no directions), with norms as in `initialise`. b_dec starts at the written
    sites' centre, b_enc at −W_enc · (mean of s x), so that latents start as often positive as
    negative. Raises ValueError for constant activations, or missing rows.
    """
    for one in statistics:
        check_varies(one)
    read, written = ([statistics[i] for i in part] for part in (sae.reads, sae.writes))
    sae.input_scale.copy_(_per_column(read))
    sae.output_scale.copy_(_per_column(written))
    centres = torch.cat([centre(sae.config, one) for one in written])
    sae.b_dec.copy_(centres.to(sae.output_scale) * sae.output_scale)
    sae.W_dec.copy_(_directions(sae, seed=seed, init_rows=init_rows))
    rows = sae.W_dec
    if sae.config.encoder_init == "independent":
        rows = normalize(torch.randn(sae.W_enc.shape, generator=generator(seed, "encoder")))
    sae.W_enc.copy_(rows * sae.encoder_gain())
    mean = torch.cat([one.mean for one in read]).to(sae.W_enc) * sae.input_scale
    sae.b_enc.copy_(-sae.W_enc @ mean)
    sae.initialise_rest(seed=seed)
    if sae.config.encoder_scale == "calibrated":
        ratio = _size_ratio(sae, init_rows)
        sae.W_enc.mul_(ratio)
        sae.b_enc.mul_(ratio)


def _per_column(statistics: Sequence[SourceStatistics]) -> torch.Tensor:
    return torch.cat([torch.full((one.width,), input_scale(one)) for one in statistics])


def _directions(sae: SitesSae, *, seed: int, init_rows: torch.Tensor | None) -> torch.Tensor:
    if sae.config.dictionary_init == "random":
        return normalize(torch.randn(sae.W_dec.shape, generator=generator(seed, "dictionary")))
    if init_rows is None or len(init_rows) < sae.n_latents:
        raise ValueError(
            f"dictionary_init 'data' got {0 if init_rows is None else len(init_rows)} rows for "
            f"{sae.n_latents} latents. Allowed: at least as many rows. Pass more init_rows, or "
            "use dictionary_init 'random'."
        )
    chosen = torch.randperm(len(init_rows), generator=generator(seed, "dictionary"))
    rows = init_rows[chosen[: sae.n_latents].to(init_rows.device)].to(sae.b_dec.device)
    return normalize(sae.scaled_target(rows) - sae.b_dec)


def _size_ratio(sae: SitesSae, rows: torch.Tensor | None) -> torch.Tensor:
    """sqrt(Σ ‖y − b‖² / Σ ‖ŷ − b‖²) over calibration rows, in scaled units, b = b_dec; 0-d."""
    if rows is None or len(rows) == 0:
        raise ValueError(
            "encoder_scale 'calibrated' got no rows. Allowed: at least one. Pass init_rows, or use "
            "encoder_scale 'fixed'."
        )
    rows = rows.to(sae.b_dec.device)
    made = (sae(rows) * sae.output_scale - sae.b_dec).double().square().sum()
    if not made > 0:
        raise ValueError(
            "encoder_scale 'calibrated' found that all reconstructions are 0 at the start: no "
            "number gives them a size. Allowed: an SAE whose start reconstructs something. Use "
            "encoder_scale 'fixed'."
        )
    wanted = (sae.scaled_target(rows) - sae.b_dec).double().square().sum()
    return (wanted / made).sqrt().to(sae.W_enc.dtype)

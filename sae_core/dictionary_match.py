"""How two dictionaries match: best cosines both ways, one-to-one pairs, and what chance gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sae_kernels.max_cosine import MaxCosine
from torch.nn.functional import normalize

from sae_core.match_nulls import BothWays, permuted_both_ways, random_both_ways
from sae_core.one_to_one import OneToOne, one_to_one
from sae_core.sae import Sae


@dataclass(frozen=True)
class Directions:
    """Unit rows (f, d) of an SAE's decoder and encoder, and which latents are `alive` (f,) bool."""

    decoder: torch.Tensor
    encoder: torch.Tensor
    alive: torch.Tensor

    @property
    def living(self) -> torch.Tensor:
        """The living latents, ascending."""
        return self.alive.nonzero().squeeze(1)


def directions_of(sae: Sae, alive: torch.Tensor) -> Directions:
    """The directions of an SAE, where `alive` (f,) says which latents fire at all."""
    return Directions(sae.dictionary(), normalize(sae.W_enc.detach()), alive.to(sae.W_enc.device))


@dataclass(frozen=True)
class Nulls:
    """What two dictionaries score by chance: with directions drawn at random in place of the
    other one, and with the other one's coordinates in another order."""

    random: BothWays
    permuted: BothWays


@dataclass(frozen=True)
class LivingMatch:
    """How the living latents of a and b match.

    `best_in_b` (f',), `cosine_ab` (f',): for each living latent of a its best match among the
    living of b and their cosine; the same from b to a. `encoder_ab` (f',): the cosine of the two
    latents' encoder rows. `abs_ab`: mean of max_j |cos|. `encoder_mmcs_ab`: MMCS of encoder rows.
    `pairs`: one to one, rows and partners counted among the living. `nulls`: what chance gives.
    """

    best_in_b: torch.Tensor
    cosine_ab: torch.Tensor
    encoder_ab: torch.Tensor
    best_in_a: torch.Tensor
    cosine_ba: torch.Tensor
    encoder_ba: torch.Tensor
    abs_ab: float
    abs_ba: float
    encoder_mmcs_ab: float
    encoder_mmcs_ba: float
    pairs: OneToOne
    nulls: Nulls


@dataclass(frozen=True)
class DictionaryMatch:
    """How dictionary a (f, d) and b (g, d) match; `living` None where a side has none alive.

    `mmcs_all_ab`, `abs_all_ab`: means of max_j cos and max_j |cos| over all latents, dead ones too.
    `latent_a` (f',), `latent_b` (g',): the living latents. `all_nulls` are those of all latents.
    """

    mmcs_all_ab: float
    mmcs_all_ba: float
    abs_all_ab: float
    abs_all_ba: float
    all_nulls: Nulls
    latent_a: torch.Tensor
    latent_b: torch.Tensor
    living: LivingMatch | None

    @property
    def mmcs_ab(self) -> float | None:
        """Mean over a's living latents of the best cosine among b's living latents."""
        return float(self.living.cosine_ab.mean()) if self.living else None

    @property
    def mmcs_ba(self) -> float | None:
        """The same from b to a."""
        return float(self.living.cosine_ba.mean()) if self.living else None


def match_dictionaries(a: Directions, b: Directions, *, null_seed: int) -> DictionaryMatch:
    """Matches the directions of two SAEs both ways; f × g is held up to 4096 latents only.

    MMCS a→b = mean_i max_j a_i·b_j. Raises ValueError where the widths d differ.
    Reference: Sharkey, Braun and Millidge, Taking features out of superposition with sparse
    autoencoders (2022); one to one: see `one_to_one`.
    """
    from sae_kernels import max_cosine

    if a.decoder.shape[1] != b.decoder.shape[1]:
        raise ValueError(
            f"dictionaries of width {a.decoder.shape[1]} and {b.decoder.shape[1]} cannot be "
            "matched: compare SAEs of one site."
        )
    everything = best = max_cosine(a.decoder, b.decoder)
    everything_opposite = opposite = max_cosine(a.decoder, -b.decoder)
    all_nulls = nulls = _nulls(a.decoder, b.decoder, null_seed)
    alive = len(a.living) > 0 and len(b.living) > 0
    if alive and not (a.alive.all() and b.alive.all()):
        one, other = a.decoder[a.living], b.decoder[b.living]
        best, opposite = max_cosine(one, other), max_cosine(one, -other)
        nulls = _nulls(one, other, null_seed)
    absolute_ab, absolute_ba = _absolute(everything, everything_opposite)
    return DictionaryMatch(
        mmcs_all_ab=float(everything.value_ab.mean()),
        mmcs_all_ba=float(everything.value_ba.mean()),
        abs_all_ab=absolute_ab,
        abs_all_ba=absolute_ba,
        all_nulls=all_nulls,
        latent_a=a.living,
        latent_b=b.living,
        living=_living(a, b, best, opposite, nulls) if alive else None,
    )


def _nulls(a: torch.Tensor, b: torch.Tensor, seed: int) -> Nulls:
    return Nulls(random_both_ways(a, b, seed=seed), permuted_both_ways(a, b, seed=seed))


def _absolute(best: MaxCosine, opposite: MaxCosine) -> tuple[float, float]:
    """Means of max_j |cos| both ways, from the largest cosines and those with −b."""
    return (
        float(torch.maximum(best.value_ab, opposite.value_ab).mean()),
        float(torch.maximum(best.value_ba, opposite.value_ba).mean()),
    )


def _living(
    a: Directions, b: Directions, best: MaxCosine, opposite: MaxCosine, nulls: Nulls
) -> LivingMatch:
    from sae_kernels import max_cosine

    one, other = a.decoder[a.living], b.decoder[b.living]
    absolute_ab, absolute_ba = _absolute(best, opposite)
    encoder_a, encoder_b = a.encoder[a.living], b.encoder[b.living]
    encoders = max_cosine(encoder_a, encoder_b)
    return LivingMatch(
        best_in_b=b.living[best.index_ab],
        cosine_ab=best.value_ab,
        encoder_ab=(encoder_a * encoder_b[best.index_ab]).sum(1),
        best_in_a=a.living[best.index_ba],
        cosine_ba=best.value_ba,
        encoder_ba=(encoder_b * encoder_a[best.index_ba]).sum(1),
        abs_ab=absolute_ab,
        abs_ba=absolute_ba,
        encoder_mmcs_ab=float(encoders.value_ab.mean()),
        encoder_mmcs_ba=float(encoders.value_ba.mean()),
        pairs=one_to_one(one, other, best),
        nulls=nulls,
    )

"""Rows of `dictionary_matches` and `latent_matches`: pairs of SAEs, and their latents each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.rows import Row
from sae_core.metrics.match_metric import SHARED_AT
from sae_core.width_classes import width_classes

if TYPE_CHECKING:
    import pyarrow

    from sae_core.dictionary_match import DictionaryMatch, LivingMatch, Nulls
    from sae_core.firing_together import Together


@dataclass(frozen=True)
class OneWay:
    """The n living latents of one side and what each finds on the other side.

    `best`, `partner` (n,) latents of the other side, a partner −1 for none; `rival` (n,): the
    latent of its own side that is its best match's partner, −1 for none or itself, of the cosine
    `rival_cosine`. `with_best`, `with_rival`: how they fire together, over all latents of the side;
    None where it was not measured.
    """

    latents: np.ndarray
    best: np.ndarray
    cosine: np.ndarray
    encoder_cosine: np.ndarray
    partner: np.ndarray
    partner_cosine: np.ndarray
    rival: np.ndarray
    rival_cosine: np.ndarray
    with_best: Together | None = None
    with_rival: Together | None = None

    @property
    def mean_correlation(self) -> float | None:
        """Mean over living latents of the correlation with the best match, where there is one."""
        if self.with_best is None:
            return None
        known = self.with_best.correlation[self.latents]
        known = known[~np.isnan(known)]
        return float(known.mean()) if len(known) else None

    @property
    def classes(self) -> np.ndarray | None:
        """What each latent is to a narrower dictionary; None where firing was not measured."""
        if self.with_best is None or self.with_rival is None:
            return None
        return width_classes(
            self.cosine,
            self.partner_cosine,
            self.with_best.share[self.latents],
            self.rival_cosine,
            np.where(self.rival < 0, np.nan, self.with_rival.share[self.latents]),
        )


def both_ways(found: DictionaryMatch, living: LivingMatch) -> tuple[OneWay, OneWay]:
    """The match as it looks from a and from b."""
    latent_a, latent_b = found.latent_a.cpu().numpy(), found.latent_b.cpu().numpy()
    pairs, n = living.pairs, len(latent_b)
    partner, cosine = pairs.partner.numpy(), pairs.cosine.numpy()
    paired = partner >= 0
    back, back_cosine = np.full(n, -1), np.full(n, np.nan)
    back[partner[paired]] = np.flatnonzero(paired)
    back_cosine[partner[paired]] = cosine[paired]
    from_a = living.best_in_b, living.cosine_ab, living.encoder_ab
    from_b = living.best_in_a, living.cosine_ba, living.encoder_ba
    sides = (latent_a, partner, cosine), (latent_b, back, back_cosine)
    return _one_way(from_a, *sides), _one_way(from_b, *sides[::-1])


def _one_way(best: tuple, own: tuple, other: tuple) -> OneWay:
    latents, partner, partner_cosine = own
    others, back, back_cosine = other
    match, cosine, encoder = (part.cpu().numpy() for part in best)
    at = np.searchsorted(others, match)
    rival = np.where(back[at] < 0, -1, latents[back[at]])
    is_rival = (rival >= 0) & (rival != latents)
    return OneWay(
        latents=latents,
        best=match,
        cosine=cosine.astype(np.float64),
        encoder_cosine=encoder.astype(np.float64),
        partner=np.where(partner < 0, -1, others[partner]),
        partner_cosine=partner_cosine,
        rival=np.where(is_rival, rival, -1),
        rival_cosine=np.where(is_rival, back_cosine[at], np.nan),
    )


def latent_match_rows(a: Evaluation, b: Evaluation, way: OneWay, *, is_wide: bool) -> pyarrow.Table:
    """Rows of `latent_matches` from a to b; `is_wide`: a has more latents of the same source."""
    import pyarrow as pa

    n, alone, lone = len(way.latents), way.partner < 0, way.rival < 0
    together, rival = way.with_best, way.with_rival
    classes = way.classes if is_wide else None
    repeated = {name: pa.array([v] * n, pa.string()) for name, v in names(a, b).items()}
    unknown, uncounted = np.full(n, np.nan), np.zeros(n, np.int64)
    fires = uncounted if together is None else together.n_fires[way.latents]
    return pa.table(
        {
            **repeated,
            "latent_a": pa.array(way.latents, pa.int64()),
            "latent_b": pa.array(way.best, pa.int64()),
            "cosine": pa.array(way.cosine),
            "encoder_cosine": pa.array(way.encoder_cosine),
            "partner": pa.array(way.partner, pa.int64(), mask=alone),
            "partner_cosine": pa.array(way.partner_cosine, pa.float64(), mask=alone),
            "activation_correlation": _known(
                unknown if together is None else together.correlation[way.latents]
            ),
            "n_fires_common": pa.array(fires, pa.int64(), mask=np.full(n, together is None)),
            "fires_with_best": _known(unknown if together is None else together.share[way.latents]),
            "rival": pa.array(way.rival, pa.int64(), mask=lone),
            "rival_cosine": _known(way.rival_cosine),
            "fires_with_rival": _known(
                unknown if rival is None else np.where(lone, np.nan, rival.share[way.latents])
            ),
            "width_class": pa.array([None] * n if classes is None else classes, pa.string()),
        }
    )


def _known(values: np.ndarray) -> pyarrow.Array:
    import pyarrow as pa

    return pa.array(values, pa.float64(), mask=np.isnan(values))


def match_row(found: DictionaryMatch) -> Row:
    """The columns of `dictionary_matches` that dictionaries alone give."""
    return {
        "mmcs_ab": found.mmcs_ab,
        "mmcs_ba": found.mmcs_ba,
        "mmcs_all_ab": found.mmcs_all_ab,
        "mmcs_all_ba": found.mmcs_all_ba,
        "mmcs_all_abs_ab": found.abs_all_ab,
        "mmcs_all_abs_ba": found.abs_all_ba,
        "n_alive_a": len(found.latent_a),
        "n_alive_b": len(found.latent_b),
        **_nulls("mmcs_all", found.all_nulls, found.mmcs_all_ab, found.mmcs_all_ba),
        **(_of_living(found.living) if found.living else dict.fromkeys(_OF_LIVING)),
    }


def names(a: Evaluation, b: Evaluation) -> Row:
    """The columns that name a pair."""
    return {
        "sae_a": a.sae,
        "sae_a_hash": a.sae_hash,
        "sae_b": b.sae,
        "sae_b_hash": b.sae_hash,
    }


_KINDS = ("null", "permuted")
_OF_LIVING = (
    "mmcs_abs_ab",
    "mmcs_abs_ba",
    "mmcs_encoder_ab",
    "mmcs_encoder_ba",
    "is_exact",
    "paired_cosine",
    "paired_cosine_at_most",
    *(f"mmcs_{kind}_{z}{way}" for way in ("ab", "ba") for kind in _KINDS for z in ("", "z_")),
    *(f"shared_{100 * tau:.0f}{of}" for tau in SHARED_AT for of in ("", "_at_most")),
    *(
        f"shared_{100 * tau:.0f}_{kind}_{of}"
        for tau in SHARED_AT
        for kind in _KINDS
        for of in ("at_most", "z")
    ),
)


def _of_living(living: LivingMatch) -> Row:
    pairs, nulls = living.pairs, living.nulls
    found: Row = {
        "mmcs_abs_ab": living.abs_ab,
        "mmcs_abs_ba": living.abs_ba,
        "mmcs_encoder_ab": living.encoder_mmcs_ab,
        "mmcs_encoder_ba": living.encoder_mmcs_ba,
        "is_exact": pairs.is_exact,
        "paired_cosine": pairs.mean_cosine,
        "paired_cosine_at_most": pairs.mean_at_most,
        **_nulls("mmcs", nulls, float(living.cosine_ab.mean()), float(living.cosine_ba.mean())),
    }
    for tau in SHARED_AT:
        name, shared = f"shared_{100 * tau:.0f}", pairs.shared[tau]
        found |= {name: shared, f"{name}_at_most": pairs.shared_at_most[tau]}
        for kind, null in zip(_KINDS, (nulls.random, nulls.permuted), strict=True):
            found[f"{name}_{kind}_at_most"] = null.shared_at_most(tau)
            found[f"{name}_{kind}_z"] = null.shared_z(tau, shared)
    return found


def _nulls(prefix: str, nulls: Nulls, mmcs_ab: float, mmcs_ba: float) -> Row:
    found: Row = {}
    for kind, both in zip(_KINDS, (nulls.random, nulls.permuted), strict=True):
        for way, null, mmcs in (("ab", both.ab, mmcs_ab), ("ba", both.ba, mmcs_ba)):
            found[f"{prefix}_{kind}_{way}"] = null.mean
            found[f"{prefix}_{kind}_z_{way}"] = null.z(mmcs)
    return found

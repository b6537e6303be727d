"""Matching the dictionaries of neighbours, each pair once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.atomic import write_json
from pipeline.errors import CheckpointError
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.neighbours import Neighbours
from pipeline.evaluation.rows import Row
from pipeline.hashing import content_hash, short
from sae_core.metrics.match_metric import SHARED, SHARED_AT, MatchSeen

if TYPE_CHECKING:
    import pyarrow
    import torch

    from sae_core.dictionary_match import DictionaryMatch, Directions, LivingMatch

VERSION = 2  # raised by hand when matching the same SAEs gives other results
_NULL_SEED = 0

Dictionary = Callable[[Evaluation], "Directions"]


@dataclass(frozen=True)
class Match:
    """A pair and how its dictionaries match."""

    neighbours: Neighbours
    found: DictionaryMatch

    @property
    def row(self) -> Row:
        """The row of `dictionary_matches`."""
        a, b, found = self.neighbours.a, self.neighbours.b, self.found
        return {
            **_names(a, b),
            "pair": self.neighbours.pair,
            "mmcs_ab": found.mmcs_ab,
            "mmcs_ba": found.mmcs_ba,
            "mmcs_all_ab": found.mmcs_all_ab,
            "mmcs_all_ba": found.mmcs_all_ba,
            "n_alive_a": len(found.latent_a),
            "n_alive_b": len(found.latent_b),
            **(_of_living(found.living) if found.living else dict.fromkeys(_OF_LIVING)),
        }

    def seen_from(self, own: Evaluation) -> MatchSeen:
        """The match from one side."""
        a, b = self.neighbours.a, self.neighbours.b
        other, mmcs = (b, self.found.mmcs_ab) if own.sae == a.sae else (a, self.found.mmcs_ba)
        living = self.found.living
        shared = living.pairs.shared[SHARED] if living else None
        return MatchSeen(self.neighbours.pair, mmcs, other.cell.source.weights.variant, shared)

    def latent_rows(self) -> list[pyarrow.Table]:
        """Rows of `latent_matches`: each living latent's best match, in both directions."""
        found, living = self.found, self.found.living
        if living is None:
            return []
        a, b, pairs = self.neighbours.a, self.neighbours.b, living.pairs
        latents = found.latent_a.cpu().numpy(), found.latent_b.cpu().numpy()
        partner, cosine = pairs.partner.numpy(), pairs.cosine.numpy()
        back, back_cosine = np.full(len(latents[1]), -1), np.full(len(latents[1]), np.nan)
        back[partner[partner >= 0]] = np.flatnonzero(partner >= 0)
        back_cosine[partner[partner >= 0]] = cosine[partner >= 0]
        ways = (
            (a, b, *latents, (living.best_in_b, living.cosine_ab, living.encoder_ab)),
            (b, a, *latents[::-1], (living.best_in_a, living.cosine_ba, living.encoder_ba)),
        )
        paired = ((partner, cosine), (back, back_cosine))
        return [_latents(*way, *pair) for way, pair in zip(ways, paired, strict=True)]


_OF_LIVING = (
    "mmcs_abs_ab",
    "mmcs_abs_ba",
    "mmcs_encoder_ab",
    "mmcs_encoder_ba",
    "mmcs_null_ab",
    "mmcs_null_z_ab",
    "mmcs_permuted_ab",
    "mmcs_permuted_z_ab",
    "is_exact",
    "paired_cosine",
    "paired_cosine_at_most",
    *(f"shared_{100 * tau:.0f}" for tau in SHARED_AT),
    *(f"shared_{100 * tau:.0f}_at_most" for tau in SHARED_AT),
    *(f"shared_{100 * tau:.0f}_null_at_most" for tau in SHARED_AT),
)


def _of_living(living: LivingMatch) -> Row:
    pairs, random, permuted = living.pairs, living.random, living.permuted
    mmcs = float(living.cosine_ab.mean())
    values = (
        living.abs_ab,
        living.abs_ba,
        living.encoder_mmcs_ab,
        living.encoder_mmcs_ba,
        random.mean,
        random.z(mmcs),
        permuted.mean,
        permuted.z(mmcs),
        pairs.is_exact,
        pairs.mean_cosine,
        pairs.mean_at_most,
        *pairs.shared.values(),
        *pairs.shared_at_most.values(),
        *random.shared_at_most.values(),
    )
    return dict(zip(_OF_LIVING, values, strict=True))


def match(neighbours: Neighbours, dictionary: Dictionary) -> Match:
    """Matches a pair; `dictionary` gives an SAE's directions."""
    from sae_core.dictionary_match import match_dictionaries

    a, b = dictionary(neighbours.a), dictionary(neighbours.b)
    return Match(neighbours, match_dictionaries(a, b, null_seed=_NULL_SEED))


def write_match(match: Match) -> None:
    """Notes the match beside both SAEs: from here on the pair is not matched again."""
    a, b = match.neighbours.a, match.neighbours.b
    for own, other in ((a, b), (b, a)):
        noted = {"other": other.sae, **asdict(match.seen_from(own))}
        write_json(_path(own, match.neighbours), noted)


def read_match(own: Evaluation, neighbours: Neighbours) -> MatchSeen | None:
    """The pair's match from the side of `own`; None where it was not matched yet."""
    path = _path(own, neighbours)
    try:
        noted = json.loads(path.read_text())
        return MatchSeen(noted["pair"], noted["mmcs"], noted["other_variant"], noted["shared"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Delete this one file: the next evaluation matches "
            "the two SAEs again."
        ) from error


def is_matched(neighbours: Neighbours) -> bool:
    """Whether both sides know the match."""
    return all(read_match(own, neighbours) for own in (neighbours.a, neighbours.b))


def _path(own: Evaluation, neighbours: Neighbours) -> Path:
    """Which latents are alive depends on the text, so the tables' hashes name the match."""
    a, b = neighbours.a, neighbours.b
    key = content_hash([VERSION, a.sae_hash, a.tables_hash, b.sae_hash, b.tables_hash])
    return own.folder / f"match-{short(key)}.json"


def _names(a: Evaluation, b: Evaluation) -> Row:
    return {
        "sae_a": a.sae,
        "sae_a_hash": a.sae_hash,
        "sae_b": b.sae,
        "sae_b_hash": b.sae_hash,
    }


def _latents(
    a: Evaluation,
    b: Evaluation,
    living_a: np.ndarray,
    living_b: np.ndarray,
    best: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    partner: np.ndarray,
    partner_cosine: np.ndarray,
) -> pyarrow.Table:
    """Rows of a's living latents; `partner` counts among b's living latents, −1 for none."""
    import pyarrow as pa

    n, alone = len(living_a), partner < 0
    latent_b, cosine, encoder = (part.cpu().numpy() for part in best)
    repeated = {name: pa.array([v] * n, pa.string()) for name, v in _names(a, b).items()}
    return pa.table(
        {
            **repeated,
            "latent_a": pa.array(living_a, pa.int64()),
            "latent_b": pa.array(latent_b, pa.int64()),
            "cosine": pa.array(cosine.astype(np.float64)),
            "encoder_cosine": pa.array(encoder.astype(np.float64)),
            "partner": pa.array(living_b[partner], pa.int64(), mask=alone),
            "partner_cosine": pa.array(partner_cosine, pa.float64(), mask=alone),
        }
    )

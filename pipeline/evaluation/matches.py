"""Matching the dictionaries of neighbours, each pair once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.atomic import write_json
from pipeline.errors import CheckpointError
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.neighbours import Neighbours
from pipeline.evaluation.rows import Row
from pipeline.hashing import content_hash, short
from sae_core.metrics.match_metric import MatchSeen

if TYPE_CHECKING:
    import pyarrow
    import torch

    from sae_core.metrics.mmcs import DictionaryMatch

VERSION = 1  # raised by hand when matching the same SAEs gives other results
_NULL_SEED = 0

Dictionary = Callable[[Evaluation], "tuple[torch.Tensor, torch.Tensor]"]


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
            "n_alive_a": found.n_alive_a,
            "n_alive_b": found.n_alive_b,
            "mmcs_null_ab": found.null_ab,
        }

    def seen_from(self, own: Evaluation) -> MatchSeen:
        """The match from one side."""
        a, b = self.neighbours.a, self.neighbours.b
        other, mmcs = (b, self.found.mmcs_ab) if own.sae == a.sae else (a, self.found.mmcs_ba)
        return MatchSeen(self.neighbours.pair, mmcs, other.cell.source.weights.variant)

    def latent_rows(self) -> list[pyarrow.Table]:
        """Rows of `latent_matches`: each living latent's best match, in both directions."""
        a, b, found = self.neighbours.a, self.neighbours.b, self.found
        return [
            _latents(a, b, found.latent_a, found.best_in_b, found.cosine_ab),
            _latents(b, a, found.latent_b, found.best_in_a, found.cosine_ba),
        ]


def match(neighbours: Neighbours, dictionary: Dictionary) -> Match:
    """Matches a pair; `dictionary` gives an SAE's directions (f, d) and which are alive (f,)."""
    from sae_core.metrics.mmcs import match_dictionaries

    (a, alive_a), (b, alive_b) = dictionary(neighbours.a), dictionary(neighbours.b)
    found = match_dictionaries(a, b, alive_a=alive_a, alive_b=alive_b, null_seed=_NULL_SEED)
    return Match(neighbours, found)


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
        return MatchSeen(noted["pair"], noted["mmcs"], noted["other_variant"])
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
    latent_a: torch.Tensor,
    latent_b: torch.Tensor,
    cosine: torch.Tensor,
) -> pyarrow.Table:
    import pyarrow as pa

    repeated = {name: pa.array([v] * len(cosine), pa.string()) for name, v in _names(a, b).items()}
    return pa.table(
        {
            **repeated,
            "latent_a": pa.array(latent_a.cpu().numpy(), pa.int64()),
            "latent_b": pa.array(latent_b.cpu().numpy(), pa.int64()),
            "cosine": pa.array(cosine.double().cpu().numpy(), pa.float64()),
        }
    )

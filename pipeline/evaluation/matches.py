"""Matching the dictionaries of neighbours, each pair once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.atomic import write_json
from pipeline.errors import CheckpointError
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.match_rows import (
    OneWay,
    both_ways,
    latent_match_rows,
    match_row,
    names,
)
from pipeline.evaluation.neighbours import Neighbours
from pipeline.evaluation.rows import Row
from pipeline.hashing import content_hash, short
from sae_core.firing_together import CodeSample, firing_together, in_common
from sae_core.metrics.match_metric import SHARED, MatchSeen

if TYPE_CHECKING:
    import pyarrow

    from sae_core.dictionary_match import DictionaryMatch, Directions

VERSION = 4  # raised by hand when matching the same SAEs gives other results
_NULL_SEED = 0

Dictionary = Callable[[Evaluation], "Directions"]
Sample = Callable[[Evaluation], CodeSample | None]


@dataclass(frozen=True)
class Match:
    """A pair, how its dictionaries match, and what each side's living latents find, if any live."""

    neighbours: Neighbours
    found: DictionaryMatch
    ways: tuple[OneWay, OneWay] | None

    @property
    def row(self) -> Row:
        """The row of `dictionary_matches`."""
        ab, ba = self.ways or (None, None)
        together = ab.with_best if ab else None
        return {
            **names(self.neighbours.a, self.neighbours.b),
            "pair": self.neighbours.pair,
            **match_row(self.found),
            "n_common_tokens": together.n_tokens if together else None,
            "activation_correlation_ab": ab.mean_correlation if ab else None,
            "activation_correlation_ba": ba.mean_correlation if ba else None,
        }

    def seen_from(self, own: Evaluation) -> MatchSeen:
        """The match from one side."""
        a, b, found = self.neighbours.a, self.neighbours.b, self.found
        is_a = own.sae == a.sae
        way = None if self.ways is None else self.ways[0 if is_a else 1]
        return MatchSeen(
            pair=self.neighbours.pair,
            mmcs=found.mmcs_ab if is_a else found.mmcs_ba,
            other_variant=(b if is_a else a).cell.source.weights.variant,
            shared=found.living.pairs.shared[SHARED] if found.living else None,
            correlation=way.mean_correlation if way else None,
        )

    def latent_rows(self) -> list[pyarrow.Table]:
        """Rows of `latent_matches`: each living latent's best match, in both directions."""
        if self.ways is None:
            return []
        a, b = self.neighbours.a, self.neighbours.b
        is_wide = _differ_in_width(self.neighbours)  # b is the one of more latents
        return [
            latent_match_rows(a, b, self.ways[0], is_wide=False),
            latent_match_rows(b, a, self.ways[1], is_wide=is_wide),
        ]


def _differ_in_width(neighbours: Neighbours) -> bool:
    a, b = neighbours.a, neighbours.b
    if neighbours.pair != "requested":
        return neighbours.pair == "other_width"
    return a.cell.source == b.cell.source and a.cell.recipe.n_latents < b.cell.recipe.n_latents


def match(neighbours: Neighbours, dictionary: Dictionary, sample: Sample) -> Match:
    """Matches a pair; `dictionary` gives an SAE's directions, `sample` its code on some tokens."""
    from sae_core.dictionary_match import match_dictionaries

    a, b = neighbours.a, neighbours.b
    found = match_dictionaries(dictionary(a), dictionary(b), null_seed=_NULL_SEED)
    if found.living is None:
        return Match(neighbours, found, None)
    ab, ba = both_ways(found, found.living)
    codes = sample(a), sample(b)
    if codes[0] is None or codes[1] is None:
        return Match(neighbours, found, (ab, ba))
    one, other = in_common(codes[0], codes[1])
    return Match(neighbours, found, (_together(ab, one, other), _together(ba, other, one)))


def _together(way: OneWay, own: CodeSample, other: CodeSample) -> OneWay:
    best, rival = np.full(own.n_latents, -1), np.full(own.n_latents, -1)
    best[way.latents], rival[way.latents] = way.best, way.rival
    return replace(
        way,
        with_best=firing_together(own, other, best),
        with_rival=firing_together(own, own, rival),
    )


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
        return MatchSeen(**{name: noted[name] for name in MatchSeen.__dataclass_fields__})
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

"""Latents of SAEs on trained weights beside those on other weights, as populations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

QUERY = """
WITH sides AS (
  SELECT sae_trained AS sae, 'trained' AS weights, model || '.' || site || '/' || recipe AS place,
    trained_above_10pct AS above_10pct, trained_single_token_share AS single_token_share,
    trained_entropy_mean AS entropy_mean, trained_frequency_median AS frequency_median
  FROM latents_vs_random
  UNION
  SELECT sae_random, split_part(random_weights, '@', 1), model || '.' || site || '/' || recipe,
    random_above_10pct, random_single_token_share, random_entropy_mean, random_frequency_median
  FROM latents_vs_random
)
SELECT place, weights, count(*) AS n_saes, avg(frequency_median) AS frequency_median,
  avg(above_10pct) AS above_10pct, avg(single_token_share) AS single_token_share,
  avg(entropy_mean) AS entropy_mean
FROM sides GROUP BY place, weights ORDER BY place, weights <> 'trained', weights
"""
HISTOGRAMS = """
WITH twins AS (
  SELECT DISTINCT unnest([sae_trained, sae_random]) AS sae FROM latents_vs_random
), named AS (
  SELECT s.sae, s.model || '.' || s.site || '/' || s.recipe AS place,
    split_part(s.weights, '@', 1) AS weights
  FROM twins JOIN internal.current_saes AS s ON s.sae = twins.sae
), saes AS (
  SELECT place, weights, count(*) AS n_saes FROM named GROUP BY place, weights
)
SELECT n.place, n.weights, h.quantity, h.low, h.high,
  sum(h.share) / any_value(saes.n_saes) AS share
FROM latent_histograms AS h JOIN named AS n ON n.sae = h.sae
JOIN saes ON saes.place = n.place AND saes.weights = n.weights
GROUP BY n.place, n.weights, h.quantity, h.low, h.high
ORDER BY n.place, n.weights <> 'trained', n.weights, h.quantity, h.low
"""


@dataclass(frozen=True)
class Profile:
    """A recipe at a site on one weights variant: means over seeds and weights seeds."""

    place: str
    weights: str
    n_saes: int
    frequency_median: float | None
    above_10pct: float | None
    single_token_share: float | None
    entropy_mean: float | None


@dataclass(frozen=True)
class Bin:
    """One bin of a histogram of latents, the mean share over seeds and weights seeds."""

    place: str
    weights: str
    quantity: str
    low: float
    high: float
    share: float


def profiles(workspace: Workspace) -> list[Profile]:
    """Each recipe and site that has twins, the trained weights first."""
    return [Profile(**row) for row in query(workspace, QUERY).to_pylist()]


def histograms(workspace: Workspace) -> list[Bin]:
    """Histograms of the same SAEs, bin by bin."""
    return [Bin(**row) for row in query(workspace, HISTOGRAMS).to_pylist()]


def places(bins: Sequence[Bin]) -> list[str]:
    """The recipes and sites that there are histograms of, in order."""
    return sorted({found.place for found in bins})

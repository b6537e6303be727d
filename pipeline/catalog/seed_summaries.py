"""The view `seed_stability`: whether another seed gives the same dictionary, with intervals.

A mean over pairs of seeds is a U-statistic: S seeds make S (S − 1) / 2 pairs that share them, so
that pairs are no replicates, and seeds are. Its interval is the jackknife's over seeds: with U the
mean over all pairs and U₋ᵢ the mean over those without seed i,
U ± t_(S−1) √((S − 1) / S Σ_i (U₋ᵢ − U)²). Reference: Efron and Stein, The jackknife estimate of
variance, Annals of Statistics 9 (1981): it is biased upward, so the interval is no narrower than
it should be; Arvesen, Jackknifing U-statistics, Annals of Mathematical Statistics 40 (1969).
"""

from __future__ import annotations

from pipeline.catalog.latent_summaries import Summary
from sae_core.over_seeds import STUDENT_95

MIN_SEEDS = 3  # with two there is one pair, and nothing is left without a seed

_COLUMNS = (
    ("source", "what the SAEs are trained on"),
    ("model", "name of the language model"),
    ("weights", "weights variant"),
    ("site", "where activations are read"),
    ("layer", "layer of the site, from 0"),
    ("recipe", "name of the recipe"),
    ("n_seeds", "seeds that are matched with another one"),
    ("n_pairs", "pairs of seeds"),
    ("mean_mmcs", "mean over the pairs of the MMCS, averaged over both directions"),
    ("mmcs_ci_low", "lower end of its 95 % interval (jackknife over seeds)"),
    ("mmcs_ci_high", "upper end of its 95 % interval (jackknife over seeds)"),
    ("min_mmcs", "the lowest of them"),
    ("mean_mmcs_null", "mean MMCS expected for random directions"),
    ("mean_shared_70", "mean over the pairs of shared_70: one-to-one pairs of cosine >= 0.7"),
    ("shared_70_ci_low", "lower end of its 95 % interval (jackknife over seeds)"),
    ("shared_70_ci_high", "upper end of its 95 % interval (jackknife over seeds)"),
    ("mean_shared_70_at_most", "mean bound of shared_70: no one-to-one pairing can exceed it"),
    ("reason", "why there is no interval; NULL where there is one"),
)

_SQL = f"""
WITH pairs AS (
  SELECT a.source, a.model, a.weights, a.site, a.layer, a.recipe,
    (m.mmcs_ab + m.mmcs_ba) / 2 AS mmcs, m.mmcs_null_ab, m.shared_70, m.shared_70_at_most,
    least(m.sae_a, m.sae_b) AS one, greatest(m.sae_a, m.sae_b) AS other
  FROM dictionary_matches AS m
  JOIN internal.current_saes AS a ON m.sae_a = a.sae AND m.sae_a_hash = a.sae_hash
  JOIN internal.current_saes AS b ON m.sae_b = b.sae AND m.sae_b_hash = b.sae_hash
  WHERE m.pair = 'other_seed'
  QUALIFY row_number() OVER (PARTITION BY one, other ORDER BY m.sae_a) = 1
), means AS (
  SELECT source, any_value(model) AS model, any_value(weights) AS weights,
    any_value(site) AS site, any_value(layer) AS layer, recipe, count(*) AS n_pairs,
    count(mmcs) AS n_known, count(shared_70) AS n_shared,
    avg(mmcs) AS mean_mmcs, min(mmcs) AS min_mmcs, avg(mmcs_null_ab) AS mean_mmcs_null,
    avg(shared_70) AS mean_shared_70, avg(shared_70_at_most) AS mean_shared_70_at_most
  FROM pairs GROUP BY source, recipe
), sides AS (
  SELECT source, recipe, unnest([one, other]) AS sae, mmcs, shared_70 FROM pairs
), left_out AS (
  SELECT s.source, s.recipe,
    (any_value(m.mean_mmcs) * any_value(m.n_known) - sum(s.mmcs))
      / (any_value(m.n_known) - count(s.mmcs)) - any_value(m.mean_mmcs) AS mmcs,
    (any_value(m.mean_shared_70) * any_value(m.n_shared) - sum(s.shared_70))
      / (any_value(m.n_shared) - count(s.shared_70)) - any_value(m.mean_shared_70) AS shared_70
  FROM sides AS s JOIN means AS m USING (source, recipe)
  GROUP BY s.source, s.recipe, s.sae
), halves AS (
  SELECT source, recipe, count(*) AS n_seeds,
    {list(STUDENT_95)}[least(count(*) - 1, {len(STUDENT_95)})] * sqrt((count(*) - 1) / count(*))
      AS stretch,
    stretch * sqrt(sum(mmcs * mmcs)) AS mmcs,
    stretch * sqrt(sum(shared_70 * shared_70)) AS shared_70
  FROM left_out GROUP BY source, recipe
), told AS (
  SELECT means.*, halves.n_seeds, halves.mmcs AS half, halves.shared_70 AS half_shared,
    CASE
      WHEN n_seeds < {MIN_SEEDS} THEN 'an interval over seeds takes {MIN_SEEDS} of them'
      WHEN n_pairs * 2 < n_seeds * (n_seeds - 1) THEN 'some pairs of seeds are not matched yet'
      WHEN n_known < n_pairs THEN 'in some pairs a side has no living latents'
    END AS reason
  FROM means JOIN halves USING (source, recipe)
)
SELECT source, model, weights, site, layer, recipe, n_seeds, n_pairs, mean_mmcs,
  CASE WHEN reason IS NULL THEN mean_mmcs - half END AS mmcs_ci_low,
  CASE WHEN reason IS NULL THEN mean_mmcs + half END AS mmcs_ci_high,
  min_mmcs, mean_mmcs_null, mean_shared_70,
  CASE WHEN reason IS NULL THEN mean_shared_70 - half_shared END AS shared_70_ci_low,
  CASE WHEN reason IS NULL THEN mean_shared_70 + half_shared END AS shared_70_ci_high,
  mean_shared_70_at_most, reason
FROM told"""


def seed_stability() -> Summary:
    """Name, comment, column comments and SELECT of the view."""
    comment = "Whether another seed gives the same dictionary: one row per source and recipe."
    return ("seed_stability", comment, _COLUMNS, _SQL)

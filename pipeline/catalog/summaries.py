"""Views that answer the usual questions: how good, better than random, stable, on the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.catalog.baseline_summaries import baseline_summaries
from pipeline.catalog.cut_summaries import cut_against_trained
from pipeline.catalog.latent_summaries import Summary, latent_summaries
from pipeline.catalog.seed_summaries import seed_stability
from pipeline.catalog.tables import TABLES

if TYPE_CHECKING:
    from sae_core.metrics.definition import MetricDefinition

_SAE_COLUMNS = (
    "sae",
    "model",
    "weights",
    "weights_seed",
    "site",
    "layer",
    "architecture",
    "recipe",
    "seed",
    "source",
    "data_seed",
    "n_latents",
    "k",
    "width",
    "tokens",
    "status",
    "sae_hash",
)


def summaries(metrics: Sequence[MetricDefinition]) -> list[Summary]:
    """Name, comment, column comments and SELECT of each summary view."""
    return [
        _evaluations(metrics),
        _trained_vs_random(),
        seed_stability(),
        _pareto_frontier(),
        *latent_summaries(),
        *baseline_summaries(),
        cut_against_trained(),
    ]


def _comment(table: str, name: str) -> str:
    return next(column.comment for column in TABLES[table].columns if column.name == name)


def _evaluations(metrics: Sequence[MetricDefinition]) -> Summary:
    """PIVOT with names from the data is refused in views, so the columns are generated.

    Values go into one map per SAE, and columns look into it: an aggregate with a filter for each of
    some three hundred columns costs six times as much, and more with every part.
    """
    wide, columns = [], [(name, _comment("saes", name)) for name in _SAE_COLUMNS]
    columns.append(("evaluation_hash", _comment("metrics", "evaluation_hash")))
    for metric in metrics:
        told = f"map_extract(told, '{metric.name}')[1]"
        wide.append(f'{told}.value AS "{metric.name}"')
        wide.append(f'{told}.ci_low AS "{metric.name}_ci_low"')
        wide.append(f'{told}.ci_high AS "{metric.name}_ci_high"')
        columns.append((metric.name, f"{metric.description} Unit: {metric.unit}."))
        columns.append((f"{metric.name}_ci_low", f"lower end of {metric.name}'s interval"))
        columns.append((f"{metric.name}_ci_high", f"upper end of {metric.name}'s interval"))
    shown = ", ".join(f'newest."{name}"' for name in _SAE_COLUMNS)
    values = ",\n  ".join(["wide.evaluation_hash", *wide])
    sql = f"""
WITH wide AS (
  SELECT sae, sae_hash, max(evaluation_hash) AS evaluation_hash,
    map_from_entries(list(struct_pack(
      k := metric, v := struct_pack(value := value, ci_low := ci_low, ci_high := ci_high)
    ))) AS told
  FROM (
    SELECT sae, sae_hash, metric, max(evaluation_hash) AS evaluation_hash, max(value) AS value,
      max(ci_low) AS ci_low, max(ci_high) AS ci_high
    FROM metrics GROUP BY sae, sae_hash, metric
  )
  GROUP BY sae, sae_hash
)
SELECT {shown}, {values}
FROM internal.current_saes AS newest
LEFT JOIN wide ON newest.sae = wide.sae AND newest.sae_hash = wide.sae_hash"""
    comment = (
        "One row per SAE (its newest content), one column per metric with its interval; "
        "NULL where not evaluated or where a value cannot be told (metrics.reason says why)."
    )
    return ("evaluations", comment, tuple(columns), sql)


_TRAINED_VS_RANDOM = """
WITH seeds AS (
  SELECT s.model, s.weights, s.site, s.layer, s.recipe, s.source, m.metric,
    avg(m.value) AS value,
    s.model || '.' || split_part(s.weights, '@', 1) || '@*.' || s.site AS every
  FROM internal.current_saes AS s JOIN metrics AS m ON m.sae = s.sae AND m.sae_hash = s.sae_hash
  GROUP BY ALL
), groups AS (
  SELECT source || '/' || recipe || '.s*' AS name, metric, value,
    model, site, layer, recipe, weights FROM seeds
  UNION ALL
  SELECT every || '/' || recipe || '.s*' AS name, metric, avg(value) AS value, any_value(model),
    any_value(site), any_value(layer), any_value(recipe), split_part(any_value(weights), '@', 1)
      || '@*'
  FROM seeds GROUP BY every, recipe, metric
)
SELECT a.model, a.site, a.layer, a.recipe, a.seed, c.metric,
  value_a.value AS trained, value_b.value AS random,
  c.difference, c.ci_low, c.ci_high, c.n, c.level, c.reason,
  a.weights AS trained_weights, b.weights AS random_weights,
  c.sae_a AS sae_trained, c.sae_b AS sae_random
FROM comparisons AS c
JOIN internal.current_saes AS a ON c.sae_a = a.sae AND c.sae_a_hash = a.sae_hash
JOIN internal.current_saes AS b ON c.sae_b = b.sae AND c.sae_b_hash = b.sae_hash
LEFT JOIN metrics AS value_a
  ON value_a.sae = c.sae_a AND value_a.sae_hash = c.sae_a_hash AND value_a.metric = c.metric
LEFT JOIN metrics AS value_b
  ON value_b.sae = c.sae_b AND value_b.sae_hash = c.sae_b_hash AND value_b.metric = c.metric
UNION ALL
SELECT a.model, a.site, a.layer, a.recipe, NULL, c.metric, a.value, b.value,
  c.difference, c.ci_low, c.ci_high, c.n, c.level, c.reason, a.weights, b.weights, c.sae_a, c.sae_b
FROM comparisons AS c
JOIN groups AS a ON c.sae_a = a.name AND c.metric = a.metric
JOIN groups AS b ON c.sae_b = b.name AND c.metric = b.metric
WHERE c.sae_a_hash IS NULL"""


def _trained_vs_random() -> Summary:
    columns = (
        ("model", "name of the language model"),
        ("site", "where activations are read"),
        ("layer", "layer of the site, from 0"),
        ("recipe", "name of the recipe"),
        ("seed", "SAE seed, the same for both; NULL for all seeds together"),
        ("metric", "name of the metric"),
        ("trained", "value of the SAE on the trained model; mean over seeds where they are all"),
        ("random", "value of its twin on the other weights; each weights seed counts alike"),
        ("difference", _comment("comparisons", "difference")),
        ("ci_low", _comment("comparisons", "ci_low")),
        ("ci_high", _comment("comparisons", "ci_high")),
        ("n", _comment("comparisons", "n")),
        ("level", _comment("comparisons", "level")),
        ("reason", _comment("comparisons", "reason")),
        ("trained_weights", "weights variant of the first"),
        ("random_weights", "weights variant of its twin"),
        ("sae_trained", "id of the first SAE; ends in .s* for all seeds together"),
        ("sae_random", "id of its twin"),
    )
    comment = (
        "Each SAE beside its twin on other weights (random ones, or trained ones whose activations "
        "are drawn or whose text is shuffled): both values and the paired difference; and "
        "from 3 seeds on all seeds of a recipe together, seeds resampled as well."
    )
    return ("trained_vs_random", comment, columns, _TRAINED_VS_RANDOM)


_PARETO_FRONTIER = """
WITH points AS (
  SELECT s.source, s.sae, s.architecture, s.recipe, s.seed, s.n_latents,
    max(m.value) FILTER (m.metric = 'l0') AS l0, max(m.value) FILTER (m.metric = 'fvu') AS fvu,
    max(m.value) FILTER (m.metric = 'ce_increase_nats') AS ce_increase_nats,
    max(m.value) FILTER (m.metric = 'mse') AS mse,
    max(m.value) FILTER (m.metric = 'loss_recovered_zero') AS loss_recovered_zero
  FROM internal.current_saes AS s JOIN metrics AS m ON m.sae = s.sae AND m.sae_hash = s.sae_hash
  WHERE m.metric IN ('l0', 'fvu', 'ce_increase_nats', 'mse', 'loss_recovered_zero')
  GROUP BY ALL
  HAVING l0 IS NOT NULL AND fvu IS NOT NULL
), better AS (
  SELECT worse.sae, arg_min(best.sae, struct_pack(fvu := best.fvu, l0 := best.l0)) AS dominated_by
  FROM points AS worse JOIN points AS best
    ON worse.source = best.source AND best.l0 <= worse.l0 AND best.fvu <= worse.fvu
    AND (best.l0 < worse.l0 OR best.fvu < worse.fvu)
  GROUP BY worse.sae
), cheaper AS (
  SELECT worse.sae,
    arg_min(best.sae, struct_pack(ce := best.ce_increase_nats, l0 := best.l0)) AS dominated_by
  FROM points AS worse JOIN points AS best
    ON worse.source = best.source AND best.l0 <= worse.l0
    AND best.ce_increase_nats <= worse.ce_increase_nats
    AND (best.l0 < worse.l0 OR best.ce_increase_nats < worse.ce_increase_nats)
  GROUP BY worse.sae
)
SELECT p.*, better.dominated_by IS NOT NULL AS dominated, better.dominated_by,
  CASE WHEN p.ce_increase_nats IS NOT NULL THEN cheaper.dominated_by IS NOT NULL END
    AS loss_dominated,
  cheaper.dominated_by AS loss_dominated_by
FROM points AS p
LEFT JOIN better ON p.sae = better.sae
LEFT JOIN cheaper ON p.sae = cheaper.sae"""


def _pareto_frontier() -> Summary:
    columns = (
        ("source", "what the SAEs are trained on"),
        ("sae", "id of the SAE"),
        ("architecture", "architecture of the recipe"),
        ("recipe", "name of the recipe"),
        ("seed", "SAE seed"),
        ("n_latents", "f: number of latents"),
        ("l0", "mean active latents per token"),
        ("fvu", "fraction of variance unexplained"),
        ("ce_increase_nats", "what splicing the SAE in costs the LM; NULL where not measured"),
        ("mse", "squared error per token; among SAEs of one source it ranks as fvu does"),
        ("loss_recovered_zero", "share of the zero-ablation loss recovered; ranks as the loss"),
        ("dominated", "whether another SAE of the source has lower or equal L0 and FVU, one lower"),
        ("dominated_by", "of those, the one with the lowest FVU; NULL on the frontier"),
        ("loss_dominated", "the same with ce_increase_nats in place of FVU; NULL without it"),
        ("loss_dominated_by", "of those, the one with the lowest ce_increase_nats"),
    )
    comment = "L0 against FVU, and against LM loss, per source: which SAEs no other beats in both."
    return ("pareto_frontier", comment, columns, _PARETO_FRONTIER)

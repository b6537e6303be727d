"""What the page asks the tables: every number on it comes from one of these queries."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.catalog.views import quoted

MOST_CURVE_POINTS = 200
BINS_PER_DECADE = 4

_CHOSEN = """WITH chosen AS (
  SELECT sae, sae_hash, source, model, weights, site, layer, architecture, recipe, seed, n_latents
  FROM evaluations WHERE {which}
)"""

_RESULTS = (
    "l0",
    "fvu",
    "loss_recovered_zero",
    "ce_increase_nats",
    "compute_recovered",
    "dead_eval",
    "mmcs_other_seed",
    "mmcs_random_twin",
)

STUDIES = "SELECT study, registered_at, study_hash, yaml FROM studies ORDER BY registered_at, study"

SOURCES = """
SELECT r.source, r.n_rows, r.width, r.dtype, r.shuffle, r.n_nonfinite, r.n_high_norm,
  r.corpus_hash, r.model_hash, r.source_hash
FROM sources AS r
WHERE (r.source, r.source_hash) IN (
  SELECT (s.source, s.source_hash) FROM saes AS s JOIN chosen USING (sae, sae_hash))
ORDER BY r.layer, r.model, r.site, r.weights <> 'trained', r.weights"""

SAES = """
SELECT s.sae, s.weights, s.layer, s.architecture, s.recipe, s.n_latents, s.k, s.width, s.seed,
  s.data_seed, s.tokens, s.batch_size, s.seconds, s.dead_train, s.status, s.package_version,
  s."commit", s.sae_hash, s.config_json
FROM saes AS s JOIN chosen USING (sae, sae_hash)
ORDER BY s.layer, s.model, s.site, s.weights <> 'trained', s.weights, s.recipe, s.seed"""

RESULTS = f"""
SELECT e.sae, {", ".join(f"e.{m}, e.{m}_ci_low, e.{m}_ci_high" for m in _RESULTS)}
FROM evaluations AS e JOIN chosen USING (sae, sae_hash)
ORDER BY e.layer, e.model, e.site, e.weights <> 'trained', e.weights, e.recipe, e.seed"""

TWINS = """
SELECT t.sae_trained, t.random_weights, t.metric, t.trained, t.random, t.difference,
  t.ci_low, t.ci_high, t.level, t.reason
FROM trained_vs_random AS t
WHERE t.metric IN ('fvu', 'l0', 'dead_eval', 'token_entropy', 'ce_increase_nats')
  AND (t.sae_trained IN (SELECT sae FROM chosen) OR t.sae_trained IN (
    SELECT source || '/' || recipe || '.s*' FROM chosen))
ORDER BY t.layer, t.sae_trained, t.random_weights, t.metric"""

FRONTIER = """
SELECT c.model, c.site, c.layer, c.weights, c.recipe, c.architecture, c.seed, e.sae,
  e.l0, e.l0_ci_low, e.l0_ci_high, e.fvu, e.fvu_ci_low, e.fvu_ci_high,
  e.mse, e.mse_ci_low, e.mse_ci_high, e.loss_recovered_zero, e.loss_recovered_zero_ci_low,
  e.loss_recovered_zero_ci_high, p.dominated, p.loss_dominated
FROM evaluations AS e JOIN chosen AS c USING (sae, sae_hash)
LEFT JOIN pareto_frontier AS p ON p.sae = e.sae
ORDER BY c.layer, c.model, c.site, c.weights <> 'trained', c.weights, e.l0, c.recipe, c.seed"""

CURVES = f"""
SELECT c.model, c.site, c.layer, c.weights, c.recipe, c.seed, t.sae, t.metric, t.tokens, t.value
FROM training_curve AS t JOIN chosen AS c USING (sae, sae_hash)
WHERE t.metric IN ('fvu', 'dead_share') AND isfinite(t.value)
WINDOW line AS (PARTITION BY t.sae, t.metric), back AS (line ORDER BY t.step DESC)
QUALIFY (row_number() OVER back - 1) % ceil(count(*) OVER line / {MOST_CURVE_POINTS}.0) = 0
ORDER BY c.layer, c.model, c.site, c.weights, c.recipe, c.seed, t.metric, t.tokens"""

FREQUENCIES = f"""
SELECT c.model, c.site, c.layer, c.recipe, c.weights, c.seed, l.sae,
  CASE WHEN l.n_fires > 0
    THEN floor(log10(l.firing_frequency) * {BINS_PER_DECADE}) / {BINS_PER_DECADE} END AS bin,
  count(*) AS n, c.n_latents
FROM latents AS l JOIN chosen AS c USING (sae, sae_hash)
GROUP BY ALL
ORDER BY c.layer, c.model, c.site, c.recipe, c.weights, c.seed, bin NULLS FIRST"""

MATCHES = """
SELECT a.model, a.site, a.layer, m.sae_a, m.sae_b, m.pair, m.mmcs_ab, m.mmcs_ba,
  m.mmcs_null_ab, m.shared_70, m.n_alive_a, m.n_alive_b
FROM dictionary_matches AS m
JOIN chosen AS a ON m.sae_a = a.sae AND m.sae_a_hash = a.sae_hash
JOIN chosen AS b ON m.sae_b = b.sae AND m.sae_b_hash = b.sae_hash
ORDER BY a.layer, a.model, a.site, m.sae_a, m.sae_b"""

CLAIMS = """
SELECT claim, statement, reference, measures, threshold, verdict, source, recipe, n, tokens,
  effect, ci_low, ci_high, study
FROM claims
WHERE source IS NULL OR (source, recipe) IN (SELECT (source, recipe) FROM chosen)
ORDER BY claim, source, recipe"""

NULLS = """
SELECT m.metric, m.reason, count(*) AS n_saes, min(m.sae) AS example
FROM metrics AS m JOIN chosen USING (sae, sae_hash)
WHERE m.value IS NULL GROUP BY m.metric, m.reason ORDER BY m.metric, m.reason"""

UNEVALUATED = """
SELECT s.sae, s.status FROM saes AS s JOIN chosen USING (sae, sae_hash)
WHERE NOT EXISTS (FROM metrics AS m WHERE m.sae = s.sae AND m.sae_hash = s.sae_hash)
ORDER BY s.sae"""

DEFINITIONS = "SELECT metric, unit, better, formula, description FROM metric_definitions"

ABOUT_SAES = {
    "sources": SOURCES,
    "saes": SAES,
    "results": RESULTS,
    "twins": TWINS,
    "frontier": FRONTIER,
    "curves": CURVES,
    "frequencies": FREQUENCIES,
    "matches": MATCHES,
    "claims": CLAIMS,
    "nulls": NULLS,
    "unevaluated": UNEVALUATED,
}

LATENTS = """
SELECT l.*, s.n_seeds, s.mean_cosine, s.found_by
FROM latents AS l JOIN chosen USING (sae, sae_hash)
LEFT JOIN latent_stability AS s USING (sae, sae_hash, latent)
ORDER BY l.sae, l.latent"""

LATENT_MATCHES = """
SELECT m.sae_a, m.latent_a, m.sae_b, m.latent_b, m.cosine, m.partner, m.partner_cosine
FROM latent_matches AS m
JOIN chosen AS a ON m.sae_a = a.sae AND m.sae_a_hash = a.sae_hash
JOIN chosen AS b ON m.sae_b = b.sae AND m.sae_b_hash = b.sae_hash
ORDER BY m.sae_a, m.sae_b, m.latent_a"""

EXAMPLE_COUNTS = """
SELECT x.kind, x.rank, count(*) AS n
FROM latent_examples AS x JOIN chosen USING (sae, sae_hash)
GROUP BY x.kind, x.rank"""

EXAMPLES = """
SELECT x.sae, x.latent, x.kind, x.rank, x.quantile, x.activation, x.document, x.token, x.text,
  x.token_ids, x."offset", x.starts, x.activations, x.n_searched
FROM latent_examples AS x JOIN chosen USING (sae, sae_hash)
WHERE {kept}
ORDER BY x.sae, x.latent, x.kind DESC, x.rank"""

VOCABULARY = """
SELECT c.model, x.token_ids[x."offset" + 1] AS id, any_value(x.token) AS token
FROM latent_examples AS x JOIN chosen AS c USING (sae, sae_hash)
GROUP BY ALL"""


def about(sql: str, saes: Sequence[str] | None) -> str:
    """The whole query, about some SAEs or, for None, about all of the workspace."""
    which = "true"
    if saes is not None:
        names = ", ".join(quoted(sae) for sae in saes)
        which = f"list_contains([{names}]::VARCHAR[], sae)"
    return _CHOSEN.format(which=which) + sql

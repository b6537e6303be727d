"""Views about latents as a population: how often they fire, on what, trained beside random."""

from __future__ import annotations

from pipeline.catalog.latent_summaries import Summary

# Of `sae_core.metrics.token_statistics`: with fewer fires every latent looks like one of a token.
MIN_FIRES = 16
SINGLE = 0.9
BIN = {"firing_frequency": 0.25, "token_entropy": 0.5}

_PROFILE = (
    ("n_latents", "latents"),
    ("alive_share", "share of latents that fired on held-out text"),
    ("frequency_q10", "firing frequency that 10 % of the living latents stay below"),
    ("frequency_median", "median firing frequency of the living latents"),
    ("frequency_q90", "firing frequency that 90 % of the living latents stay below"),
    ("above_1pct", "share of all latents that fire on more than 1 % of the tokens"),
    ("above_10pct", "share of all latents that fire on more than 10 % of the tokens"),
    ("entropy_mean", f"mean token entropy in nats of latents with at least {MIN_FIRES} fires"),
    (
        "single_token_share",
        f"share of latents with at least {MIN_FIRES} fires of which {SINGLE:.0%} or more fall on "
        "one token",
    ),
)


def baseline_summaries() -> list[Summary]:
    """Name, comment, column comments and SELECT of each view."""
    return [_latent_profiles(), _latents_vs_random(), _latent_histograms()]


def _latent_profiles() -> Summary:
    columns = (("sae", "id of the SAE"), ("sae_hash", "content hash of the SAE"), *_PROFILE)
    counted = f"FILTER (n_fires >= {MIN_FIRES})"
    # Ten million latents are grouped before anything is joined to them, and sorted once for all
    # three quantiles: either costs more than the rest.
    sql = f"""
WITH grouped AS (
  SELECT sae, sae_hash, count(*) AS n_latents, avg((n_fires > 0)::INTEGER) AS alive_share,
    quantile_cont(firing_frequency, [0.1, 0.5, 0.9]) FILTER (n_fires > 0) AS quantiles,
    avg((firing_frequency > 0.01)::INTEGER) AS above_1pct,
    avg((firing_frequency > 0.1)::INTEGER) AS above_10pct,
    avg(token_entropy) {counted} AS entropy_mean,
    avg((top_token_share >= {SINGLE})::INTEGER) {counted} AS single_token_share
  FROM latents GROUP BY sae, sae_hash
)
SELECT sae, sae_hash, g.n_latents, alive_share, quantiles[1] AS frequency_q10,
  quantiles[2] AS frequency_median, quantiles[3] AS frequency_q90, above_1pct, above_10pct,
  entropy_mean, single_token_share
FROM grouped AS g SEMI JOIN internal.current_saes USING (sae, sae_hash)"""
    comment = (
        "One row per SAE: how often its latents fire and on how many tokens. For weights gaussian, "
        "tokens are those whose rows were drawn: what chance gives."
    )
    return ("latent_profiles", comment, columns, sql)


def _latents_vs_random() -> Summary:
    names = [name for name, _ in _PROFILE]
    columns = (
        ("model", "name of the language model"),
        ("site", "where activations are read"),
        ("layer", "layer of the site, from 0"),
        ("recipe", "name of the recipe"),
        ("seed", "SAE seed, the same for both"),
        ("random_weights", "weights variant of the twin"),
        ("sae_trained", "id of the SAE on trained weights"),
        ("sae_random", "id of its twin"),
        *(
            (f"{side}_{name}", f"{whose}: {comment}")
            for name, comment in _PROFILE
            for side, whose in (("trained", "trained weights"), ("random", "its twin"))
        ),
    )
    values = ", ".join(f"p.{n} AS trained_{n}, q.{n} AS random_{n}" for n in names)
    sql = f"""
SELECT a.model, a.site, a.layer, a.recipe, a.seed, b.weights AS random_weights,
  a.sae AS sae_trained, b.sae AS sae_random, {values}
FROM internal.current_saes AS a
JOIN internal.current_saes AS b ON a.model = b.model AND a.site = b.site AND a.recipe = b.recipe
  AND a.seed = b.seed AND a.weights = 'trained' AND b.weights <> 'trained'
JOIN latent_profiles AS p ON p.sae = a.sae AND p.sae_hash = a.sae_hash
JOIN latent_profiles AS q ON q.sae = b.sae AND q.sae_hash = b.sae_hash"""
    comment = "Latents of each SAE on trained weights beside those of its twins on other weights."
    return ("latents_vs_random", comment, columns, sql)


def _latent_histograms() -> Summary:
    columns = (
        ("sae", "id of the SAE"),
        ("sae_hash", "content hash of the SAE"),
        (
            "quantity",
            "firing_frequency, as its decimal logarithm, of living latents; or token_entropy in "
            f"nats, of latents with at least {MIN_FIRES} fires",
        ),
        ("low", "lower end of the bin, included"),
        ("high", "upper end of the bin"),
        ("n_in_bin", "latents in the bin"),
        ("share", "of all latents of the SAE"),
    )
    bins = {
        "firing_frequency": ("log10(firing_frequency)", "n_fires > 0"),
        "token_entropy": ("token_entropy", f"n_fires >= {MIN_FIRES}"),
    }
    both = ",\n    ".join(
        f"CASE WHEN {where} THEN floor({value} / {BIN[name]})::INTEGER END AS {name}"
        for name, (value, where) in bins.items()
    )
    each = "\n  UNION ALL\n  ".join(
        f"SELECT sae, sae_hash, '{name}' AS quantity, {BIN[name]}::DOUBLE AS width,\n"
        f"    {name} AS bin, sum(n)::BIGINT AS n_in_bin FROM grouped WHERE {name} IS NOT NULL\n"
        "  GROUP BY ALL"
        for name in bins
    )
    # One look at ten million latents, which are grouped before anything is joined to them.
    sql = f"""
WITH grouped AS MATERIALIZED (
  SELECT sae, sae_hash, {both},
    count(*) AS n
  FROM latents GROUP BY ALL
), binned AS (
  {each}
), sizes AS (
  SELECT sae, sae_hash, sum(n) AS n_all FROM grouped GROUP BY sae, sae_hash
)
SELECT sae, sae_hash, quantity, bin * width AS low, (bin + 1) * width AS high, n_in_bin,
  n_in_bin / n_all AS share
FROM binned JOIN sizes USING (sae, sae_hash)
SEMI JOIN internal.current_saes USING (sae, sae_hash)"""
    comment = (
        "How firing frequencies and token entropies are spread over an SAE's latents. Bins have "
        f"{BIN['firing_frequency']} decades and {BIN['token_entropy']} nats; empty ones are left "
        "out."
    )
    return ("latent_histograms", comment, columns, sql)

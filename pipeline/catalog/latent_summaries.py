"""Views about single latents: which other seeds found them, and what a wider dictionary makes."""

from __future__ import annotations

from sae_core.width_classes import RULE

Summary = tuple[str, str, tuple[tuple[str, str], ...], str]

SHARED = 0.7


def latent_summaries() -> list[Summary]:
    """Name, comment, column comments and SELECT of each view."""
    return [_latent_stability(), _width_classes()]


def _latent_stability() -> Summary:
    columns = (
        ("sae", "id of the SAE"),
        ("sae_hash", "content hash of the SAE"),
        ("latent", "index of the latent, from 0"),
        ("n_seeds", "other seeds of the same recipe and source that it is matched with"),
        ("mean_cosine", "mean over these seeds of its best cosine"),
        ("min_cosine", "the lowest of them"),
        ("mean_encoder_cosine", "mean cosine of its encoder row with its best match's"),
        ("found_by", f"share of these seeds with a one-to-one partner of cosine >= {SHARED}"),
        ("firing_frequency", "share of held-out tokens on which it is active"),
        ("token_entropy", "entropy in nats of the tokens it fires on"),
        ("top_token_share", "share of its fires on its most frequent token"),
    )
    sql = f"""
WITH seeds AS (
  SELECT m.sae_a AS sae, m.sae_a_hash AS sae_hash, m.latent_a AS latent,
    m.cosine, m.encoder_cosine, coalesce(m.partner_cosine >= {SHARED}, false) AS is_found
  FROM latent_matches AS m
  JOIN internal.current_saes AS a ON m.sae_a = a.sae AND m.sae_a_hash = a.sae_hash
  JOIN internal.current_saes AS b ON m.sae_b = b.sae AND m.sae_b_hash = b.sae_hash
  WHERE a.source = b.source AND a.recipe = b.recipe AND a.seed <> b.seed
), stable AS (
  SELECT sae, sae_hash, latent, count(*) AS n_seeds, avg(cosine) AS mean_cosine,
    min(cosine) AS min_cosine, avg(encoder_cosine) AS mean_encoder_cosine,
    avg(is_found::INTEGER) AS found_by
  FROM seeds GROUP BY sae, sae_hash, latent
)
SELECT s.*, l.firing_frequency, l.token_entropy, l.top_token_share
FROM stable AS s LEFT JOIN latents AS l
  ON l.sae = s.sae AND l.sae_hash = s.sae_hash AND l.latent = s.latent"""
    comment = (
        "Whether other seeds found a latent, beside its frequency and entropy: living latents."
    )
    return ("latent_stability", comment, columns, sql)


def _width_classes() -> Summary:
    columns = (
        ("sae_narrow", "id of the SAE of fewer latents"),
        (
            "sae_wide",
            "id of the SAE of more latents, same source; same seed but for requested pairs",
        ),
        ("latent", "living latent of the wide SAE"),
        ("class", "shared, absorbed, split or novel: see the view's comment; NULL without firing"),
        ("best_latent", "m: its best match among the narrow SAE's living latents"),
        ("cosine", "cosine with that"),
        ("partner", "its one-to-one partner; NULL for none"),
        ("partner_cosine", "cosine with that"),
        ("n_fires", "common tokens on which it fires"),
        ("fires_with_best", "share of these on which m fires"),
        ("rival", "m's one-to-one partner in the wide SAE; NULL for none or the latent itself"),
        ("rival_cosine", "cosine of the rival with m"),
        ("fires_with_rival", "share of the latent's fires on which the rival fires"),
        ("activation_correlation", "correlation of its activation with m's"),
    )
    sql = """
SELECT m.sae_b AS sae_narrow, m.sae_a AS sae_wide, m.latent_a AS latent, m.width_class AS class,
  m.latent_b AS best_latent, m.cosine, m.partner, m.partner_cosine,
  m.n_fires_common AS n_fires, m.fires_with_best, m.rival, m.rival_cosine, m.fires_with_rival,
  m.activation_correlation
FROM latent_matches AS m
JOIN internal.current_saes AS a ON m.sae_a = a.sae AND m.sae_a_hash = a.sae_hash
JOIN internal.current_saes AS b ON m.sae_b = b.sae AND m.sae_b_hash = b.sae_hash
WHERE a.source = b.source AND a.n_latents > b.n_latents"""
    comment = f"What a wider dictionary makes of a narrower one. {RULE}"
    return ("width_classes", comment, columns, sql)

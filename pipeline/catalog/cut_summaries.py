"""Frequency cuts beside SAEs that were trained at the L0 that a cut leaves."""

from __future__ import annotations

NEAR = 1.25

Summary = tuple[str, str, tuple[tuple[str, str], ...], str]


_COLUMNS = (
    ("sae", "id of the SAE that was cut"),
    ("sae_hash", "content hash of the SAE"),
    ("source", "what both SAEs are trained on"),
    ("tau", "latents that fire on more than this share of the calibration tokens are dropped"),
    ("n_dropped", "latents dropped"),
    ("l0", "mean active latents per token that the cut leaves"),
    ("fvu", "fraction of variance unexplained with what is left"),
    ("ce_increase_nats", "what the LM loses with it; on the tokens of curves"),
    ("trained", "the SAE whose own L0 is nearest; NULL where none is near"),
    ("trained_n_latents", "its number of latents"),
    ("trained_l0", "its L0"),
    ("trained_fvu", "its fraction of variance unexplained"),
    ("trained_ce_increase_nats", "what the LM loses with it; on the tokens of curves"),
    ("fvu_excess", "fvu less trained_fvu: above 0 training at that L0 is better than cutting"),
    ("ce_excess_nats", "the same of ce_increase_nats"),
    ("reason", "why there is no trained SAE beside the cut"),
)
_SQL = f"""
WITH cuts AS (
  SELECT c.*, s.source, s.n_latents FROM frequency_cuts AS c
  JOIN internal.current_saes AS s ON c.sae = s.sae AND c.sae_hash = s.sae_hash
  WHERE c.is_stated
), trained AS (
  SELECT * FROM cuts WHERE n_dropped = 0 AND l0 > 0
  QUALIFY row_number() OVER (PARTITION BY sae, sae_hash ORDER BY tau DESC) = 1
), pairs AS (
  SELECT c.sae, c.sae_hash, c.tau, t.sae AS trained, t.n_latents AS trained_n_latents,
    t.l0 AS trained_l0, t.fvu AS trained_fvu, t.ce_increase_nats AS trained_ce_increase_nats,
    abs(ln(t.l0 / c.l0)) AS distance
  FROM cuts AS c JOIN trained AS t ON c.source = t.source AND c.sae <> t.sae
  WHERE c.l0 > 0
), nearest AS (
  SELECT * FROM pairs
  QUALIFY row_number() OVER (PARTITION BY sae, sae_hash, tau ORDER BY distance, trained) = 1
), near AS (
  SELECT * FROM nearest WHERE distance <= ln({NEAR})
)
SELECT c.sae, c.sae_hash, c.source, c.tau, c.n_dropped, c.l0, c.fvu, c.ce_increase_nats,
  t.trained, t.trained_n_latents, t.trained_l0, t.trained_fvu, t.trained_ce_increase_nats,
  c.fvu - t.trained_fvu AS fvu_excess,
  c.ce_increase_nats - t.trained_ce_increase_nats AS ce_excess_nats,
  CASE WHEN t.trained IS NOT NULL THEN NULL
    WHEN c.l0 = 0 THEN 'the cut leaves no active latent'
    WHEN n.trained IS NULL THEN 'no other SAE of this source is evaluated'
    ELSE 'the nearest L0, ' || round(n.trained_l0, 2) || ' of ' || n.trained
      || ', is not within a factor of {NEAR}' END AS reason
FROM cuts AS c
LEFT JOIN near AS t ON c.sae = t.sae AND c.sae_hash = t.sae_hash AND c.tau = t.tau
LEFT JOIN nearest AS n ON c.sae = n.sae AND c.sae_hash = n.sae_hash AND c.tau = n.tau
WHERE c.n_dropped > 0"""


def cut_against_trained() -> Summary:
    """Name, comment, column comments and SELECT of the view."""
    comment = (
        "Each stated frequency cut that drops something, beside the SAE of the same source, "
        f"trained and not cut, whose L0 is nearest, at most a factor of {NEAR} away. Both are "
        "measured on the same held-out tokens."
    )
    return ("cut_against_trained", comment, _COLUMNS, _SQL)

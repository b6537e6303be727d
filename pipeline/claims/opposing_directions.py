"""Opposing directions are rare."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="opposing_directions",
    statement="Fewer than 1 % of the latents have another one pointing the opposite way.",
    reference="an expectation about dictionaries of non-negative codes; threshold ours",
    study="examples/experiments/encoder_init.yaml",
    effect="share of latents without a decoder direction of cosine below −0.9 to theirs",
    threshold=0.99,
    sql="""
SELECT source, recipe, seed, tokens, 1 - opposing_latents_90 AS effect FROM evaluations
WHERE weights = 'trained' AND opposing_latents_90 IS NOT NULL""",
)

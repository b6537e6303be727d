"""Frequent latents can be killed."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="frequent_latents",
    statement="Killing the latents that fire on more than 10 % of the tokens costs the language "
    "model at most 0.05 nats.",
    reference="an expectation behind pruning dense latents; threshold ours",
    study="examples/experiments/encoder_init.yaml",
    effect="loss before less after killing them, in nats: 0 where it costs nothing",
    threshold=-0.05,
    sql="""
SELECT s.source, s.recipe, s.seed, s.tokens, before.ce_spliced - cut.ce_spliced AS effect
FROM evaluations AS s
JOIN frequency_cuts AS cut ON cut.sae = s.sae AND cut.sae_hash = s.sae_hash
JOIN frequency_cuts AS before ON before.sae = s.sae AND before.sae_hash = s.sae_hash
WHERE s.weights = 'trained' AND cut.tau = 0.1 AND before.tau = 1 AND cut.n_dropped > 0""",
)

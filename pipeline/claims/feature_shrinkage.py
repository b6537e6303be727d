"""An L1 penalty shrinks features."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="feature_shrinkage",
    statement="Reconstructions of SAEs with an L1 penalty are more shrunk than those of TopK.",
    reference="Wright and Sharkey, Addressing Feature Suppression in SAEs (2024); Rajamanoharan et "
    "al., Improving Dictionary Learning with Gated Sparse Autoencoders (2024)",
    study="examples/claims/l1_against_topk.yaml",
    effect="relative reconstruction bias, TopK's mean over its k less the L1 SAE's, by seed",
    threshold=0.01,
    sql="""
SELECT l.source, l.recipe, l.seed, any_value(l.tokens) AS tokens,
  avg(t.relative_reconstruction_bias) - l.relative_reconstruction_bias AS effect
FROM evaluations AS l JOIN evaluations AS t USING (source, seed)
WHERE l.architecture = 'relu' AND starts_with(t.recipe, 'l1-against-topk')
GROUP BY l.source, l.recipe, l.seed, l.relative_reconstruction_bias""",
)

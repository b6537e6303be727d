"""Multi-TopK makes the code more progressive."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="progressive_code",
    statement="With a quarter of the latents left, Multi-TopK reconstructs better than TopK.",
    reference="a stronger reading of Gao et al., Scaling and evaluating sparse autoencoders "
    "(2024), section 5.3: TopK's code is progressive up to its own k, Multi-TopK's beyond it, too",
    study="examples/experiments/multi_topk.yaml",
    effect="FVU of each token's 4 strongest latents of 16, TopK less Multi-TopK, paired by seed",
    threshold=0.004,
    sql="""
WITH strongest AS (
  SELECT s.source, s.recipe, s.seed, s.tokens, p.fvu
  FROM evaluations AS s JOIN progressive_code AS p ON p.sae = s.sae AND p.sae_hash = s.sae_hash
  WHERE p.k = 4
)
SELECT b.source, t.recipe, b.seed, b.tokens, b.fvu - t.fvu AS effect
FROM strongest AS b JOIN strongest AS t USING (source, seed)
WHERE b.recipe = 'code-topk' AND t.recipe = 'code-multi-topk'""",
)

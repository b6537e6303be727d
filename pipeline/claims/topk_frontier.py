"""TopK's frontier lies below that of an L1 penalty."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="topk_frontier",
    statement="At the same L0 TopK loses less of the variance than an SAE with an L1 penalty.",
    reference="Gao et al., Scaling and evaluating sparse autoencoders (2024), section 5.2",
    study="examples/claims/l1_against_topk.yaml",
    effect="FVU of the L1 SAE less TopK's at its L0 and seed, between two k linear in log2 L0; an "
    "L1 SAE whose L0 lies outside all k is not compared",
    threshold=0.005,
    sql="""
WITH topk AS (
  SELECT source, seed, log2(l0) AS x, fvu, lead(log2(l0)) OVER k AS next_x, lead(fvu) OVER k AS next
  FROM evaluations WHERE starts_with(recipe, 'l1-against-topk') AND l0 > 0
  WINDOW k AS (PARTITION BY source, seed ORDER BY l0)
)
SELECT l.source, l.recipe, l.seed, l.tokens,
  l.fvu - (t.fvu + (t.next - t.fvu) * (log2(l.l0) - t.x) / (t.next_x - t.x)) AS effect
FROM evaluations AS l JOIN topk AS t ON t.source = l.source AND t.seed = l.seed
WHERE l.architecture = 'relu' AND l.l0 > 0 AND log2(l.l0) >= t.x AND log2(l.l0) < t.next_x""",
)

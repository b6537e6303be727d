"""JumpReLU, trained by straight-through estimators, is on the frontier."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="jumprelu_frontier",
    statement="Thresholds trained by a straight-through estimator give JumpReLU a frontier as good "
    "as TopK's: at the same L0 it loses at most 0.01 more of the variance.",
    reference="Rajamanoharan et al., Jumping Ahead: Improving Reconstruction Fidelity with "
    "JumpReLU Sparse Autoencoders (2024), arXiv 2407.14435, abstract; threshold ours",
    study="examples/experiments/frontier.yaml",
    effect="FVU of TopK at JumpReLU's L0 and seed, between two k linear in log2 L0, less "
    "JumpReLU's; a JumpReLU SAE whose L0 lies outside all k is not compared",
    threshold=-0.01,
    sql="""
WITH topk AS (
  SELECT source, seed, log2(l0) AS x, fvu, lead(log2(l0)) OVER k AS next_x, lead(fvu) OVER k AS next
  FROM evaluations WHERE starts_with(recipe, 'front-topk-') AND l0 > 0
  WINDOW k AS (PARTITION BY source, seed ORDER BY l0)
)
SELECT j.source, j.recipe, j.seed, j.tokens,
  t.fvu + (t.next - t.fvu) * (log2(j.l0) - t.x) / (t.next_x - t.x) - j.fvu AS effect
FROM evaluations AS j JOIN topk AS t ON t.source = j.source AND t.seed = j.seed
WHERE starts_with(j.recipe, 'front-jumprelu-') AND j.l0 > 0
  AND log2(j.l0) >= t.x AND log2(j.l0) < t.next_x""",
)

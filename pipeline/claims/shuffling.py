"""Shuffled activations train better SAEs."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="shuffling",
    statement="At the same budget an SAE that sees rows in a global shuffle loses less of the "
    "variance than one that sees text in order.",
    reference="a common assumption; threshold ours",
    study="examples/claims/shuffling.yaml",
    effect="FVU, rows in order less rows shuffled, paired by seed",
    threshold=0.002,
    sql="""
SELECT g.source, g.recipe, g.seed, g.tokens, o.fvu - g.fvu AS effect
FROM evaluations AS g JOIN evaluations AS o USING (weights, site, recipe, seed)
WHERE g.model = 'pylm-shuffled' AND o.model = 'pylm-in-order'""",
)

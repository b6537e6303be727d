"""SAEs reconstruct a trained network's activations better than a random network's."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="trained_against_random",
    statement="At the same recipe an SAE loses less of the variance of a trained network than of a "
    "random one.",
    reference="the reading that Heap et al., Automated Interpretability Metrics Do Not Distinguish "
    "Trained and Random Transformers (2025), arXiv 2501.17727, doubt",
    study="examples/claims/trained_against_random.yaml",
    effect="FVU, mean over random twins less trained, paired by seed; replicates are SAE seeds, "
    "given these draws of the random weights",
    threshold=0.01,
    sql="""
SELECT t.source, t.recipe, t.seed, any_value(t.tokens) AS tokens, avg(r.fvu) - t.fvu AS effect
FROM evaluations AS t JOIN evaluations AS r USING (model, site, recipe, seed)
WHERE t.weights = 'trained' AND split_part(r.weights, '@', 1) = 'random'
GROUP BY t.source, t.recipe, t.seed, t.fvu""",
)

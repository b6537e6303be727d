"""Zero ablation flatters."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="zero_ablation",
    statement="Loss recovered against zero ablation is higher than against mean ablation, by more "
    "than 0.01: the choice of the ablation flatters.",
    reference="a common objection to the metric; threshold ours",
    study="examples/experiments/encoder_init.yaml",
    effect="loss_recovered_zero less loss_recovered_mean of the same SAE",
    threshold=0.01,
    sql="""
SELECT source, recipe, seed, tokens, loss_recovered_zero - loss_recovered_mean AS effect
FROM evaluations WHERE weights = 'trained'""",
)

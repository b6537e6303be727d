"""Two seeds find the same dictionary."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="seed_similarity",
    statement="Dictionaries of two seeds have a mean max cosine similarity above 0.95.",
    reference="an expectation from L1 dictionaries of 2023; Paulo and Belrose, Sparse Autoencoders "
    "Trained on the Same Data Learn Different Features (2025), find far less for TopK",
    study="examples/experiments/encoder_init.yaml",
    effect="mmcs_other_seed: each seed's mean over the other seeds; pairs overlap, so the interval "
    "is twice as wide as for independent replicates",
    threshold=0.95,
    overlap=2.0,
    sql="""
SELECT source, recipe, seed, tokens, mmcs_other_seed AS effect FROM evaluations
WHERE weights = 'trained' AND mmcs_other_seed IS NOT NULL""",
)

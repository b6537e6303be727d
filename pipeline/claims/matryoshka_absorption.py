"""Matryoshka absorbs less, where the truth is known."""

from __future__ import annotations

from pipeline.claims.claim import Claim

CLAIM = Claim(
    name="matryoshka_absorption",
    statement="Where features imply each other, Matryoshka's latents for a parent are taken over "
    "by its children's less often than those of SAEs without nested groups.",
    reference="Bussmann et al., Learning Multi-Level Features with Matryoshka Sparse Autoencoders "
    "(2025), arXiv 2503.17547; Chanin et al., A is for Absorption (2024), arXiv 2409.14507",
    study="examples/absorption.py",
    effect="share of tokens with a child feature on which its latent has taken over the parent's "
    "direction, the other SAE's less Matryoshka's, on the same toy hierarchy, paired by seed; "
    "Matryoshka's first group has as many latents as there are parents, which is its best case",
    threshold=0.05,
    sql="""
SELECT 'toy hierarchy' AS source, 'matryoshka against ' || o.recipe AS recipe, m.seed, m.tokens,
  o.absorbed - m.absorbed AS effect
FROM absorption AS m JOIN absorption AS o USING (seed, tokens)
WHERE m.recipe = 'matryoshka' AND o.recipe <> 'matryoshka'""",
)

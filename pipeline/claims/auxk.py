"""AuxK keeps latents alive."""

from __future__ import annotations

from pipeline.claims.claim import Claim, contrast

CLAIM = Claim(
    name="auxk",
    statement="AuxK leaves fewer latents dead than training without it.",
    reference="Gao et al., Scaling and evaluating sparse autoencoders (2024), section A.2",
    study="examples/experiments/dead_latents.yaml",
    effect="dead share at the end of training, without AuxK less with it, paired by seed",
    threshold=0.01,
    sql=contrast("dead_train", "dead-neither", "dead-auxk", sign=-1),
)

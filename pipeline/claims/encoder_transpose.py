"""An encoder that starts as the decoder's transpose leaves fewer latents dead."""

from __future__ import annotations

from pipeline.claims.claim import Claim, contrast

CLAIM = Claim(
    name="encoder_transpose",
    statement="With an independent start of the encoder more latents die than with the decoder's "
    "transpose.",
    reference="Gao et al., Scaling and evaluating sparse autoencoders (2024), section A.1",
    study="examples/experiments/encoder_init.yaml",
    effect="dead share at the end of training, independent start less transpose, paired by seed",
    threshold=0.01,
    sql=contrast("dead_train", "enc-transpose", "enc-independent"),
)

"""The window of JumpReLU's straight-through estimator must be narrow."""

from __future__ import annotations

from pipeline.claims.claim import Claim, contrast

CLAIM = Claim(
    name="jumprelu_bandwidth",
    statement="A window ten times as wide biases the straight-through estimate of JumpReLU's "
    "threshold gradient enough to cost reconstruction at the same aimed-for L0.",
    reference="Rajamanoharan et al., Jumping Ahead: Improving Reconstruction Fidelity with "
    "JumpReLU Sparse Autoencoders (2024), arXiv 2407.14435: the bandwidth trades bias for "
    "variance; factor and threshold ours",
    study="examples/experiments/persistent_kde.yaml",
    effect="FVU at an aimed-for L0 of 16, bandwidth 0.5 less bandwidth 0.05, paired by seed",
    threshold=0.004,
    sql=contrast("fvu", "kde-plain", "kde-wide"),
)

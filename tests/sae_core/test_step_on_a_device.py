"""A whole training step as a device would run it: what it launches, and that nothing waits.

Tensors of the `meta` device have shapes and no numbers: a step that read one would raise.
"""

from __future__ import annotations

import importlib.util

import pytest
import torch
from sae_kernels.dispatch import using
from sae_kernels.launch import recorded

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition(n_features=64, width=64)
STATISTICS = statistics_of(TOY.sample(1024, step=10**6))
CODE = {"_product", "_largest", "_mend", "_weighted_rows", "_row_dots", "_segment_sums"}
ROWS = {"_norms", "_step"}


def on_meta(name: str, **fields: object) -> Trainee:
    """A trainee that has seen enough for latents to be dead, its tensors without numbers."""
    config = config_class(name)(n_latents=4096, tokens=10**6, batch_size=128, **fields)
    one = Trainee(config, name="a", statistics=STATISTICS, seed=0)
    one.sae.to("meta")
    optimiser = one.optimiser
    for kept in (optimiser.mean, optimiser.mean_square):
        kept[:] = [tensor.to("meta") for tensor in kept]
    optimiser.parameters = list(one.sae.parameters())
    optimiser.count = optimiser.count.to("meta")
    for counter in ("since_fired", "first_bad_step", "first_bad_term", "mean"):
        setattr(one, counter, getattr(one, counter).to("meta"))
    one.tokens_seen = 500_000
    return one


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux alone")
@pytest.mark.parametrize("auxk_weight", [0.0, 1 / 32])
def test_a_step_with_auxk_waits_for_nothing_and_runs_in_kernels(auxk_weight):
    one = on_meta("topk", k=8, k_aux=32, auxk_weight=auxk_weight)
    with using("fused"), recorded() as launches:
        one.step(torch.empty(128, 64, device="meta"))
    assert {launch.kernel.__name__ for launch in launches} == CODE | ROWS
    products = [launch for launch in launches if launch.kernel.__name__ == "_product"]
    assert [launch.constants["LISTED"] for launch in products] == [False, True][
        : 1 + (auxk_weight > 0)
    ]


def test_a_planted_read_is_found():
    one = on_meta("jumprelu", dead_weight=1e-6)
    with pytest.raises(Exception, match="meta"):
        one.step(torch.empty(128, 64, device="meta"))

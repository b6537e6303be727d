"""Whole training steps as a device would run them: the kernels that they launch, not run.

Tensors of the `meta` device have shapes and no numbers: a step that read one would raise.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from sae_kernels.dispatch import using
from sae_kernels.launch import Launch, recorded

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee


def trainee_on_meta(name: str, *, width: int = 64, **fields: object) -> Trainee:
    """A trainee that has seen enough for latents to be dead, its tensors without numbers."""
    toy = Superposition(n_features=width, width=width)
    config = config_class(name)(
        **({"n_latents": 4096, "tokens": 10**6, "batch_size": 128} | fields)
    )
    statistics = statistics_of(toy.sample(1024, step=10**6))
    one = Trainee(config, name="a", statistics=statistics, seed=0)
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


def step_launches(one: Trainee, *, n: int) -> list[Launch]:
    """What a step on n tokens launches."""
    width = one.sae.W_enc.shape[1]
    with using("fused"), recorded() as launches:
        one.step(torch.empty(n, width, device="meta"))
    return launches


def launches() -> Iterator[Launch]:
    """Of steps of real and of small size, with AuxK, with both kinds of moments."""
    for width, n_latents, k in ((768, 24576, 32), (128, 1024, 16), (96, 1500, 3), (33, 100, 1)):
        for moments in ("float32", "bfloat16"):
            one = trainee_on_meta("topk", width=width, n_latents=n_latents, k=k, moments=moments)
            yield from step_launches(one, n=2048)

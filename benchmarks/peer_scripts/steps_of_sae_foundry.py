"""Steps of our own trainees, `Trainee.step`, as bench_topk_step.py makes them."""

from __future__ import annotations

from functools import partial

from bench_topk_step import trainee
from turns import Contender, Sizes, sizes, tell

from sae_core.toy import Superposition
from sae_core.trainee import Trainee


def main(given: Sizes) -> None:
    """Prints the seconds."""
    tell("sae-foundry", given, {"topk": _one(given, 0.0), "topk_auxk": _one(given, 0.25)})


def _one(given: Sizes, dead_share: float) -> Contender:
    n, width = given.x.shape
    toy = Superposition(
        n_features=given.n_latents // 2, width=width, density=given.k / given.n_latents
    )
    fields = {"n_latents": given.n_latents, "batch_size": n, "k": given.k, "k_aux": width // 2}
    one = trainee("topk", toy=toy, dead_share=dead_share, **fields)
    return Contender(partial(one.step, given.x), partial(_dead_share, one))


def _dead_share(one: Trainee) -> float:
    return float((one.since_fired > one.config.dead_window_tokens).float().mean())


if __name__ == "__main__":
    main(sizes())

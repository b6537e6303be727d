"""TopK beside Matryoshka on features that imply each other: how often a child absorbs its parent.

    python examples/absorption.py [seeds]

Prints, per seed and over all, the share of tokens with a child on which its latent has taken over
the parent's direction (see `sae_core.absorption`), and the paired differences with a 95 % interval
of a bootstrap over seeds. Smallest effect that counts, stated beforehand: 0.05.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from sae_core.absorption import Absorption, absorption
from sae_core.architectures import config_class
from sae_core.bootstrap import interval, resample_counts
from sae_core.engine import train
from sae_core.toy import statistics_of
from sae_core.toy_hierarchy import Hierarchy
from sae_core.trainee import Trainee

TOKENS, BATCH = 400_000, 500
TOY = {"n_parents": 8, "n_children": 3, "width": 48, "density": 0.25}
K = 2  # on average 2 parents and 1 child are active: who swallows its parent saves a latent
RECIPES = {
    "topk": {"architecture": "topk"},
    "batch_topk": {"architecture": "batch_topk"},
    "matryoshka": {"architecture": "matryoshka", "group_shares": (0.25, 0.75)},
}


def measured(seed: int, *, tokens: int = TOKENS) -> dict[str, Absorption]:
    """The recipes trained on the same batches of one hierarchy, and how far each absorbs."""
    toy = Hierarchy(**TOY, seed=seed)
    statistics = statistics_of(toy.sample(4096, step=10**6).x)
    common = {"n_latents": 32, "k": K, "tokens": tokens, "batch_size": BATCH, "lr": 0.003}
    trainees = [
        Trainee(
            config_class(recipe["architecture"])(**common, **recipe),
            name=name,
            statistics=statistics,
            seed=seed,
        )
        for name, recipe in RECIPES.items()
    ]
    batches = (toy.sample(BATCH, step=step).x for step in range(-(-tokens // BATCH)))
    for _ in train(trainees, batches, report_every=1000):
        pass
    return {trainee.name: _absorption(trainee, toy) for trainee in trainees}


def _absorption(trainee: Trainee, toy: Hierarchy) -> Absorption:
    seen, (parents, children) = toy.sample(20_000, step=10**7), toy.directions()
    sae = trainee.result()
    with torch.no_grad():
        sae.calibrate([toy.sample(20_000, step=10**6 + 1).x])
        code = sae.encode(seen.x)
        return absorption(
            code, sae.W_dec.detach(), parents, children, seen.parents > 0, seen.children > 0
        )


def main(n_seeds: int) -> None:
    """Prints the table."""
    rates: dict[str, list[float]] = {name: [] for name in RECIPES}
    for seed in range(n_seeds):
        for name, found in measured(seed).items():
            rates[name].append(found.rate)
            missed = found.missed_alone
            print(f"seed {seed}  {name:11} absorbed {found.rate:.3f}  missed alone {missed:.3f}")
    for other in ("topk", "batch_topk"):
        difference = np.array(rates["matryoshka"]) - np.array(rates[other])
        replicates = resample_counts(n_seeds, 10_000, seed=0) @ difference / n_seeds
        low, high = interval(replicates)
        print(f"matryoshka - {other}: {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)

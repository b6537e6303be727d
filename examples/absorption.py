"""TopK beside Matryoshka on features that imply each other: how often a child absorbs its parent.

    python examples/absorption.py [--seeds N] [--workspace WORKSPACE]

Prints, per seed and over all, the share of tokens with a child on which its latent has taken over
the parent's direction (see `sae_core.absorption`), and the paired differences with a 95 % interval
of a bootstrap over seeds. Smallest effect that counts, stated beforehand: 0.05. Matryoshka's first
group has as many latents as there are parents, and k is less than the 3 features that are active
on average: both make a difference likely to show. With a workspace the numbers go to its table
`absorption`, where the claim matryoshka_absorption reads them (`sae claims`). Cost: 24 SAEs of
400,000 tokens with 32 latents, no language model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pipeline.catalog.warehouse import refresh
from pipeline.catalog.write import new_run_id, write_run
from pipeline.workspace import Workspace
from sae_core.absorption import Absorption, absorption
from sae_core.architectures import config_class
from sae_core.bootstrap import interval, resample_counts
from sae_core.engine import train
from sae_core.toy import statistics_of
from sae_core.toy_hierarchy import Hierarchy
from sae_core.trainee import Trainee

TOKENS, BATCH, N_LATENTS = 400_000, 500, 32
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
    common = {"n_latents": N_LATENTS, "k": K, "tokens": tokens, "batch_size": BATCH, "lr": 0.003}
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


def row(name: str, seed: int, found: Absorption) -> dict[str, object]:
    """A row of the table `absorption`."""
    return {
        "recipe": name,
        "architecture": RECIPES[name]["architecture"],
        "seed": seed,
        "n_latents": N_LATENTS,
        "k": K,
        "tokens": TOKENS,
        "absorbed": found.rate,
        "missed_alone": found.missed_alone,
    }


def main() -> None:
    """Prints the table, and writes it to a workspace where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--workspace", type=Path)
    given = parser.parse_args()
    # Steps of 500 rows and 32 latents are too small to share: a second thread only waits, and
    # beside other work its waiting took 20 to 30 times the CPU time of the steps themselves.
    torch.set_num_threads(1)
    rates: dict[str, list[float]] = {name: [] for name in RECIPES}
    rows = []
    for seed in range(given.seeds):
        for name, found in measured(seed).items():
            rates[name].append(found.rate)
            rows.append(row(name, seed, found))
            missed = found.missed_alone
            print(f"seed {seed}  {name:11} absorbed {found.rate:.3f}  missed alone {missed:.3f}")
    for other in ("topk", "batch_topk"):
        difference = np.array(rates["matryoshka"]) - np.array(rates[other])
        replicates = resample_counts(given.seeds, 10_000, seed=0) @ difference / given.seeds
        low, high = interval(replicates)
        print(f"matryoshka - {other}: {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
    if given.workspace:
        write(Workspace.open(given.workspace), rows)


def write(workspace: Workspace, rows: list[dict[str, object]]) -> None:
    """Puts the rows into the workspace's table `absorption`."""
    write_run(workspace, new_run_id("absorption"), {"absorption": rows}, kind="absorption")
    refresh(workspace)


if __name__ == "__main__":
    main()

"""Which numbers tell a trained network from what is set beside it, and which do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.catalog.warehouse import query
from pipeline.overview.random_baselines import Comparison
from pipeline.workspace import Workspace

# What exists for a network whose ablation changes nothing, too.
ASKED = (
    "fvu",
    "l0",
    "latents_above_10pct",
    "token_entropy",
    "single_token_latents",
    "ce_increase_nats",
)
QUERY = """
WITH named AS (
  SELECT m.pair, a.model || '.' || a.site || '/' || a.recipe AS place, a.weights AS weights_a,
    split_part(b.weights, '@', 1) AS weights_b, (m.mmcs_ab + m.mmcs_ba) / 2 AS mmcs
  FROM dictionary_matches AS m
  JOIN internal.current_saes AS a ON m.sae_a = a.sae AND m.sae_a_hash = a.sae_hash
  JOIN internal.current_saes AS b ON m.sae_b = b.sae AND m.sae_b_hash = b.sae_hash
  WHERE a.weights = 'trained'
), seeds AS (
  SELECT place, avg(mmcs) AS between_seeds, min(mmcs) AS lowest FROM named
  WHERE pair = 'other_seed' GROUP BY place
)
SELECT n.place, n.weights_b AS weights, any_value(s.between_seeds) AS between_seeds,
  any_value(s.lowest) AS lowest_between_seeds, avg(n.mmcs) AS to_twins,
  max(n.mmcs) AS highest_to_twins
FROM named AS n JOIN seeds AS s ON s.place = n.place
WHERE n.pair = 'other_weights' GROUP BY n.place, n.weights_b ORDER BY n.place, n.weights_b
"""


@dataclass(frozen=True)
class Likeness:
    """MMCS of a recipe at a site: between seeds on trained weights, and to twins on others.

    Each pair counts as the mean of both directions.
    """

    place: str
    weights: str
    between_seeds: float | None
    lowest_between_seeds: float | None
    to_twins: float | None
    highest_to_twins: float | None


def likenesses(workspace: Workspace) -> list[Likeness]:
    """Every recipe and site that has both other seeds and twins."""
    return [Likeness(**row) for row in query(workspace, QUERY).to_pylist()]


def unseparated(found: Sequence[Comparison]) -> list[str]:
    """Each metric that cannot tell trained from other weights, with how many of the pairs.

    A pair counts where its interval touches 0. Left out: pairs without an interval, and an L0 that
    is exactly equal, since there the recipe says what it is (TopK's).
    """
    lines = []
    for weights in sorted({c.twin for c in found}):
        for metric in ASKED:
            pairs = [c for c in found if c.metric == metric and c.twin == weights]
            told = [c for c in pairs if metric != "l0" or c.trained != c.random]
            judged = [c for c in told if c.ci_low is not None]
            blurred = [c for c in judged if c.indistinct]
            if blurred:
                example = f"such as {blurred[0].sae}, {blurred[0].difference:+.4g}"
                lines.append(
                    f"{metric} does not tell trained from {weights} weights in {len(blurred)} of "
                    f"{len(judged)} pairs ({example})"
                )
    return lines


def alike(found: Sequence[Likeness]) -> list[str]:
    """Where a dictionary is as like one on other weights as like one of another seed."""
    return [
        f"{one.place}: MMCS with twins on {one.weights} weights reaches "
        f"{one.highest_to_twins:.3f}, between seeds on trained weights it falls to "
        f"{one.lowest_between_seeds:.3f}"
        for one in found
        if one.highest_to_twins is not None
        and one.lowest_between_seeds is not None
        and one.highest_to_twins >= one.lowest_between_seeds
    ]

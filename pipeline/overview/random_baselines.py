"""Each SAE beside its twin on random weights: what the trained network adds, if anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

QUERY = """
SELECT t.sae_trained AS sae, t.random_weights AS twin, t.metric, d.better,
       t.trained, t.random, t.difference, t.ci_low, t.ci_high, t.level, t.reason
FROM trained_vs_random AS t LEFT JOIN metric_definitions AS d ON d.metric = t.metric
WHERE t.seed IS NOT NULL
ORDER BY t.sae_trained, t.random_weights, t.metric
"""
# What says how well a dictionary fits. The others are shown and not judged: a random model has no
# loss to lose, and L0 is often what the recipe says.
JUDGED = ("fvu", "cosine")


@dataclass(frozen=True)
class Comparison:
    """One metric of one SAE and of its twin; `difference` is trained - random, paired."""

    sae: str
    twin: str
    metric: str
    better: str | None
    trained: float | None
    random: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    level: str | None
    reason: str | None

    @property
    def indistinct(self) -> bool:
        """Whether the difference's interval touches 0."""
        if self.ci_low is None or self.ci_high is None:
            return False
        return self.ci_low <= 0 <= self.ci_high

    @property
    def worse(self) -> bool:
        """Whether the trained network's SAE is worse beyond its interval."""
        if self.ci_low is None or self.ci_high is None:
            return False
        return self.ci_low > 0 if self.better == "lower" else self.ci_high < 0


def comparisons(workspace: Workspace) -> list[Comparison]:
    """Every pair there is, metric by metric."""
    return [Comparison(**row) for row in query(workspace, QUERY).to_pylist()]


def warnings(found: Sequence[Comparison]) -> list[str]:
    """Where activations of random weights are reconstructed as well or better."""
    lines = []
    for c in found:
        if c.metric in JUDGED and (c.indistinct or c.worse):
            what = "cannot be told from" if c.indistinct else "is worse than"
            lines.append(
                f"{c.sae}: {c.metric} {what} its twin on {c.twin} weights "
                f"({c.difference:+.4g}, interval {c.ci_low:.4g} to {c.ci_high:.4g})"
            )
    return lines

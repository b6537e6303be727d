"""What a claim of the field is, as data: who says it, the study that tests it, when it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One claim, stated so that a workspace can contradict it.

    `sql` gives a row per replicate: `source`, `recipe`, `seed`, `tokens` (an SAE's training budget)
    and `effect`, oriented and measured as `effect` says. The claim holds where the mean effect is
    above `threshold`, which is chosen before anything is measured. `overlap` widens the interval
    where replicates share data: the mean over seeds of each seed's mean over pairs has twice the
    standard error that independent replicates of that spread would have. `study` is a file of
    examples/: a study, or a script that measures on made-up data.
    """

    name: str
    statement: str
    reference: str
    study: str
    effect: str
    threshold: float
    sql: str
    overlap: float = 1.0

    @property
    def is_study(self) -> bool:
        """Whether a study measures it, and not a script."""
        return self.study.endswith(".yaml")

    @property
    def command(self) -> str:
        """What measures it."""
        if self.is_study:
            return f"sae run {self.study}"
        return f"python {self.study} --workspace WORKSPACE"


def contrast(metric: str, baseline: str, treated: str, *, sign: int = 1) -> str:
    """SQL of a paired difference by source and seed: sign · (treated − baseline) of two recipes."""
    return f"""
SELECT b.source, t.recipe, b.seed, b.tokens, {sign} * (t.{metric} - b.{metric}) AS effect
FROM evaluations AS b JOIN evaluations AS t USING (source, seed)
WHERE b.recipe = '{baseline}' AND t.recipe = '{treated}'"""

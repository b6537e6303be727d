"""How often experts learned the same direction, each for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric

if TYPE_CHECKING:
    import numpy as np

DUPLICATE = 0.9
_REFERENCE = "Mudide et al., Efficient dictionary learning with switch sparse autoencoders (2024)"
_NO_EXPERTS = "its latents are not divided among experts"


class _Tally:
    """Nothing of it depends on text: it is done at the start."""

    def __init__(self, subject: Subject) -> None:
        import numpy as np

        from sae_core.expert_geometry import duplicates_across_experts

        cosines = np.empty(0, np.float32)
        if subject.n_experts is not None:
            found = duplicates_across_experts(subject.dictionary.float(), subject.n_experts)
            cosines = found.cpu().numpy()
        self.arrays = {"cosine_across_experts": cosines}

    def add(self, seen: Seen) -> None:
        pass

    def result(self) -> Mapping[str, np.ndarray]:
        return self.arrays


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


def _values(arrays: Mapping[str, np.ndarray]) -> Mapping[str, Measured]:
    cosines = arrays["cosine_across_experts"]
    f = len(cosines)
    if not f:
        return {d.name: Measured(None, reason=_NO_EXPERTS) for d in _DEFINITIONS}
    return {
        "cosine_across_experts": Measured(float(cosines.mean()), n=f),
        "duplicates_across_experts": Measured(float((cosines > DUPLICATE).mean()), n=f),
    }


_DEFINITIONS = (
    MetricDefinition(
        name="cosine_across_experts",
        version=1,
        unit="cosine",
        better="lower",
        formula="mean_i max_(j of another expert) d_i·d_j, d unit decoder rows",
        reference=_REFERENCE,
        description="How close a latent's closest one of another expert is, on average; compare "
        "it with nearest_cosine, which looks within experts too. All latents, an always-on "
        "expert's and dead ones too. NULL where there are no experts. n counts latents.",
    ),
    MetricDefinition(
        name="duplicates_across_experts",
        version=1,
        unit="share of latents",
        better="lower",
        formula=f"#{{i : max_(j of another expert) d_i·d_j > {DUPLICATE}}} / f, d unit decoder "
        "rows",
        reference=_REFERENCE,
        description="Share of latents whose direction another expert has learned too. All "
        "latents, an always-on expert's and dead ones too. NULL where there are no experts. n "
        "counts latents.",
    ),
)

METRIC = TallyMetric(definitions=_DEFINITIONS, version=1, start=_start, values=_values)

"""How a dictionary's directions lie to one another: near copies, and pairs that point apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric

if TYPE_CHECKING:
    import numpy as np
    import torch

OPPOSING = (70, 90)
_BLOCK = 2048


class Geometry(NamedTuple):
    """Of each latent its closest and most opposing other, all (f,); pairs below −0.7 and −0.9.

    Cosines are NaN and indices −1 in a dictionary of one latent.
    """

    max_cosine: torch.Tensor
    nearest: torch.Tensor
    min_cosine: torch.Tensor
    most_opposing: torch.Tensor
    pairs: tuple[int, ...]


def geometry(dictionary: torch.Tensor, *, block: int = _BLOCK) -> Geometry:
    """Cosines of every two rows of a dictionary (f, d), block × block at a time, never f × f.

    A zero row has cosine 0 with every other. Of equal cosines the lowest index counts.
    """
    import torch

    unit = torch.nn.functional.normalize(dictionary.detach().float())
    f = len(unit)
    highest, lowest = (unit.new_full((f,), value) for value in (-torch.inf, torch.inf))
    nearest, opposite = (torch.full((f,), -1, device=unit.device) for _ in range(2))
    pairs = torch.zeros(len(OPPOSING), dtype=torch.int64, device=unit.device)
    for i in range(0, f, block):
        for j in range(0, f, block):
            cosines = unit[i : i + block] @ unit[j : j + block].T
            for percent, count in zip(OPPOSING, pairs, strict=True):
                count += (cosines < -percent / 100).sum()
            if i == j:
                cosines.fill_diagonal_(-torch.inf)
            _improve(highest[i : i + block], nearest[i : i + block], cosines, j)
            if i == j:
                cosines.fill_diagonal_(torch.inf)
            _improve(lowest[i : i + block], opposite[i : i + block], cosines, j, sign=-1)
    alone = (nearest < 0).unsqueeze(0)
    highest, lowest = torch.stack([highest, lowest]).masked_fill(alone, torch.nan)
    return Geometry(highest, nearest, lowest, opposite, tuple(int(n) // 2 for n in pairs))


def _improve(
    value: torch.Tensor, index: torch.Tensor, cosines: torch.Tensor, column: int, sign: int = 1
) -> None:
    found, place = (cosines * sign).max(1)
    better = found > value * sign
    value[better], index[better] = found[better] * sign, place[better] + column


class _Tally:
    """Nothing of it depends on text: it is done at the start."""

    def __init__(self, subject: Subject) -> None:
        import numpy as np

        found = geometry(subject.dictionary)
        self.arrays = {
            name: getattr(found, name).cpu().numpy()
            for name in ("max_cosine", "nearest", "min_cosine", "most_opposing")
        }
        self.arrays["opposing_pairs"] = np.array(found.pairs)

    def add(self, seen: Seen) -> None:
        pass

    def result(self) -> Mapping[str, np.ndarray]:
        return self.arrays


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


def _values(arrays: Mapping[str, np.ndarray]) -> Mapping[str, Measured]:
    f = len(arrays["min_cosine"])
    if f < 2:
        return {d.name: Measured(None, n=f, reason="it has one latent") for d in _definitions()}
    found = {"nearest_cosine": Measured(float(arrays["max_cosine"].mean()), n=f)}
    for percent, pairs in zip(OPPOSING, arrays["opposing_pairs"], strict=True):
        with_partner = arrays["min_cosine"] < -percent / 100
        found[f"opposing_latents_{percent}"] = Measured(float(with_partner.mean()), n=f)
        found[f"opposing_pairs_{percent}"] = Measured(float(pairs), n=f)
    return found


def _definitions() -> tuple[MetricDefinition, ...]:
    found = [
        MetricDefinition(
            name="nearest_cosine",
            version=1,
            unit="cosine",
            better="lower",
            formula="mean_i max_(j ≠ i) d_i·d_j, d unit decoder rows",
            reference="Karvonen et al., SAEBench (2025), arXiv 2503.09532 (core, self-similarity)",
            description="How close the closest other latent of the same dictionary is, on "
            "average. All latents, dead ones too. n counts latents.",
        )
    ]
    for percent in OPPOSING:
        bound = f"−{percent / 100:.1f}"
        reference = "Sharkey, Braun and Millidge (2022) for cosines between dictionary elements"
        about = f"decoder directions whose cosine is below {bound}; all latents, dead ones too"
        found += [
            MetricDefinition(
                f"opposing_latents_{percent}",
                1,
                "share of latents",
                "neither",
                f"#{{i : min_(j ≠ i) d_i·d_j < {bound}}} / f, d unit decoder rows",
                reference,
                f"Share of latents that have an opposing one: {about}. n counts latents.",
            ),
            MetricDefinition(
                f"opposing_pairs_{percent}",
                1,
                "pairs",
                "neither",
                f"#{{i < j : d_i·d_j < {bound}}}, d unit decoder rows",
                reference,
                f"Number of pairs of {about}. n counts latents.",
            ),
        ]
    return tuple(found)


METRIC = TallyMetric(
    definitions=_definitions(), version=1, start=_start, of="dictionary", values=_values
)

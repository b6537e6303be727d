"""Metrics that sums over tokens cannot hold: each keeps a tally of its own while a sweep goes by.

A tally sees every batch of an SAE once and ends as named arrays, which are kept beside the SAE;
tables and numbers are made from these arrays, without another sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from sae_core.metrics.definition import Measured, MetricDefinition

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sae_core.code import SparseCode
    from sae_core.metrics.token_metric import Reconstruction
    from sae_core.probe_text import ProbeText


@dataclass(frozen=True)
class Subject:
    """The SAE that a tally is kept of, in raw units.

    `dictionary` (f, d) decoder rows as they are; `bias` (d,) the reconstruction of an empty code;
    `input_scale` the number s with E‖s x‖² = d; `n_documents` D and `vocabulary` v of the text.
    `calibration_frequency()` (f,) float64: the share of the calibration tokens on which each
    latent fires; it is counted when first asked for. `n_experts`: the number of equal blocks of
    the dictionary's rows that are experts, None where there are none. `probe_text`: the text's
    labels, shared by all SAEs of a sweep; None where none are asked for.
    """

    dictionary: torch.Tensor
    bias: torch.Tensor
    input_scale: float
    n_documents: int
    vocabulary: int
    calibration_frequency: Callable[[], torch.Tensor]
    n_experts: int | None = None
    probe_text: ProbeText | None = None


@dataclass(frozen=True)
class Seen:
    """n tokens as an SAE saw them: token ids, places in the text and document numbers (n,) int64.

    A place is packed row · context + position; places ascend within a batch and between batches.
    """

    tokens: torch.Tensor
    places: torch.Tensor
    documents: torch.Tensor
    reconstruction: Reconstruction


class Tally(Protocol):
    """What is kept of one SAE while a sweep goes by."""

    def add(self, seen: Seen) -> None:
        """Takes in a batch."""

    def result(self) -> Mapping[str, np.ndarray]:
        """Everything taken in, as named arrays."""


class SplicingTally(Tally, Protocol):
    """A tally that also asks what the LM loses with other codes than the SAE's own.

    That is measured on a stated part of the text: each code costs a forward pass.
    """

    def codes(self, code: SparseCode) -> Mapping[str, SparseCode]:
        """Codes to splice in place of the SAE's own, by a name that is the same in every batch."""


@dataclass(frozen=True)
class TallyMetric:
    """A metric with a tally; `version` is raised when the tally's arrays change their meaning.

    `start` begins a tally; `values` gives the numbers of `definitions` from its arrays.
    `splices`: whether tallies are `SplicingTally`; their losses join the arrays as
    `losses/<name>` (D, 1 + 3): per document the predictions, and sums of clean, spliced and
    zero-ablated loss. `of` what it looks at: the dictionary alone; codes and their tokens;
    reconstructions, which it takes for bias + Σ values · dictionary rows in place of x.
    `labelled`: whether it reads the subject's `probe_text`.
    """

    definitions: tuple[MetricDefinition, ...]
    version: int
    start: Callable[[Subject], Tally]
    values: Callable[[Mapping[str, np.ndarray]], Mapping[str, Measured]]
    splices: bool = False
    of: Literal["dictionary", "code", "reconstruction"] = "reconstruction"
    labelled: bool = False


def no_values(arrays: Mapping[str, np.ndarray]) -> Mapping[str, Measured]:
    """Of a metric that fills tables and has no number of its own."""
    return {}

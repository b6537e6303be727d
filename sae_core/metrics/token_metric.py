"""Metrics that are functions of sums over tokens, kept per document so that they can be resampled.

A metric turns a batch of tokens into columns (n, c) in float64; the columns are summed per
document into a table (D, 1 + c) whose first column counts the tokens; `values` turns totals
(..., 1 + c) into numbers (...), for one total and for a thousand resamples alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from sae_core.metrics.definition import Measured, MetricDefinition

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sae_core.code import SparseCode
    from sae_core.pretraining_curve import PretrainingCurve


@dataclass(frozen=True)
class Reconstruction:
    """n tokens seen by an SAE: `x`, `x_hat` (n, d) float64, their `code`, `decoder_norms` (f,).

    `center` (d,) is any fixed point near the mean of x; it only keeps the variance's sums small.
    """

    x: torch.Tensor
    x_hat: torch.Tensor
    code: SparseCode
    decoder_norms: torch.Tensor
    center: torch.Tensor

    @cached_property
    def squared_error(self) -> torch.Tensor:
        """‖x − x̂‖² per token, (n,)."""
        return (self.x - self.x_hat).square().sum(1)


@dataclass(frozen=True)
class Losses:
    """n scored predictions: next-token losses in nats (n,) float64 under four forwards, and more.

    `clean`: nothing edited; `spliced`: reconstructions in place of activations; `zero`, `mean`:
    activations replaced by 0 and by their mean; `unigram`: loss of the training text's token
    frequencies; `kl`: KL(clean ‖ spliced) of the predictions; `same_top1`: 1 where clean and
    spliced find the same token most likely, else 0.
    """

    clean: torch.Tensor
    spliced: torch.Tensor
    zero: torch.Tensor
    mean: torch.Tensor
    unigram: torch.Tensor
    kl: torch.Tensor
    same_top1: torch.Tensor


@dataclass(frozen=True)
class EveryPrediction:
    """n predictions, scored or not: losses in nats (n,) float64 as other packages splice.

    `clean`: nothing edited; `spliced`: reconstructions in place of the tokens that we edit;
    `spliced_everywhere`: in place of every token, special ones too; `zero_everywhere`: every
    token's activation replaced by 0. `from_special`, `of_special` (n,) bool: made from a special
    token, and predicting one.
    """

    clean: torch.Tensor
    spliced: torch.Tensor
    spliced_everywhere: torch.Tensor
    zero_everywhere: torch.Tensor
    from_special: torch.Tensor
    of_special: torch.Tensor


@dataclass(frozen=True)
class Setting:
    """What a value needs besides sums.

    The LM's pre-training curve, or why there is none; the loss of a uniform guess, ln v, in nats.
    """

    curve: PretrainingCurve | None = None
    no_curve: str = "no pre-training curve is known for this model"
    uniform_loss: float | None = None


Values = Mapping[str, Any]


def _no_reasons(totals: Any, replicates: Any, setting: Setting) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class TokenMetric:
    """A metric over tokens (see the module's text).

    `of` what it looks at: `Reconstruction`, `Losses`, or `EveryPrediction`, which costs two more
    forwards and is looked at on the part of the text that losses along curves are measured on.
    `reasons(totals (1+c,), replicates (B, 1+c), setting)` names the values that must not be
    given although they can be computed, each with its reason.
    """

    definitions: tuple[MetricDefinition, ...]
    of: Literal["reconstruction", "losses", "every_prediction"]
    per_token: Callable[[Any], torch.Tensor]
    values: Callable[[Any, Setting], Values]
    reasons: Callable[[Any, Any, Setting], Mapping[str, str]] = _no_reasons


def columns(*per_token: torch.Tensor) -> torch.Tensor:
    """Tensors (n,) or (n, m) side by side as (n, c) float64."""
    import torch

    return torch.cat(
        [part.double().view(len(part), *part.shape[1:] or (1,)) for part in per_token], 1
    )


def sums_per_document(
    values: torch.Tensor, documents: torch.Tensor, n_documents: int
) -> torch.Tensor:
    """Per-token columns (n, c) and document numbers (n,) as sums (D, 1 + c), token count first."""
    counted = columns(values.new_ones(values.shape[0]), values)
    sums = counted.new_zeros(n_documents, counted.shape[1])
    return sums.index_add_(0, documents, counted)


def measure(
    metric: TokenMetric, table: np.ndarray, counts: np.ndarray, setting: Setting
) -> dict[str, Measured]:
    """The metric's numbers with intervals from sums per document (D, 1+c) and resamples (B, D).

    One document alone has a value and no interval.
    """
    import numpy as np

    from sae_core.bootstrap import interval

    totals, replicates = table.sum(0), counts @ table
    with np.errstate(all="ignore"):
        points = metric.values(totals, setting)
        resampled = metric.values(replicates, setting)
        reasons = metric.reasons(totals, replicates, setting)
    several = int((table[:, 0] > 0).sum()) > 1
    found = {}
    for name, point in points.items():
        ends = interval(np.asarray(resampled[name])) if several else (np.nan, np.nan)
        found[name] = _measured(float(point), ends, int(totals[0]), reasons.get(name))
    return found


def _measured(point: float, ends: tuple[Any, Any], n: int, reason: str | None) -> Measured:
    import math

    if reason is not None and not reason.startswith("interval"):
        return Measured(None, n=n, reason=reason)
    if not math.isfinite(point):
        return Measured(None, n=n, reason="not finite on these tokens")
    low, high = (float(end) if math.isfinite(end) else None for end in ends)
    if reason is None and (low is None or high is None):
        reason = "interval undefined: too few documents"
    return Measured(point, low, high, n=n, reason=reason)

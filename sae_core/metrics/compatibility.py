"""The same quantities in other packages' definitions, so that their numbers can be compared.

Read in the code of SAELens 6.54.12, SAEBench 0.6.0, dictionary_learning 0.1.0 and sparsify 1.3.3.
Where they take a mean over a batch and average over batches, all held-out tokens are one batch
here. Their L0 (a ≠ 0), cosine and relative reconstruction bias are `l0`, `cosine` and
`relative_reconstruction_bias`; their loss recovered is in `peer_losses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric

if TYPE_CHECKING:
    import numpy as np

_SUMS = (
    "tokens",
    "error",
    "square",
    "spread",
    "legacy_share",
    "error_norm",
    "length_ratio",
    "activation",
)


class _Tally:
    """Sums over all tokens in float64: eight numbers and two of size d."""

    def __init__(self, subject: Subject) -> None:
        import torch

        d = subject.dictionary.shape[1]
        self.sums = torch.zeros(len(_SUMS), dtype=torch.float64)
        self.x, self.e = (torch.zeros(d, dtype=torch.float64) for _ in range(2))

    def add(self, seen: Seen) -> None:
        import torch

        one = seen.reconstruction
        centered, error = one.x - one.center, one.x - one.x_hat
        squared, spread = one.squared_error, centered.square().sum(1)
        legacy = (squared / spread).where(spread > 0, torch.zeros_like(spread))
        # SAELens divides by 1 where the activation is shorter than this.
        norm = one.x.norm(dim=1)
        ratio = one.x_hat.norm(dim=1) / norm.where(norm >= 1e-4, torch.ones_like(norm))
        values = one.code.values.double().sum(1)
        # The square is that of x itself: SAEBench's explained variance depends on the origin.
        square = one.x.square().sum(1)
        ones = torch.ones_like(norm)
        columns = (ones, squared, square, spread, legacy, squared.sqrt(), ratio, values)
        self.sums += torch.stack([column.sum() for column in columns]).cpu()
        self.x += centered.sum(0).cpu()
        self.e += error.sum(0).cpu()

    def result(self) -> Mapping[str, np.ndarray]:
        """The sums by name, c a fixed point near the mean; of x − c and of the error (d,)."""
        return {
            **{name: value.numpy() for name, value in zip(_SUMS, self.sums, strict=True)},
            "x": self.x.numpy(),
            "e": self.e.numpy(),
        }


def _values(arrays: Mapping[str, np.ndarray]) -> Mapping[str, Measured]:
    import numpy as np

    n, d = int(arrays["tokens"]), len(arrays["x"])
    variance = arrays["spread"] - (arrays["x"] ** 2).sum() / n
    error, mean_square = arrays["error"], arrays["square"] / n
    with np.errstate(all="ignore"):
        found = {
            "ev_sae_lens": 1 - error / variance,
            "ev_legacy": 1 - arrays["legacy_share"] / n,
            "ev_sae_bench": 1 - error / n / (mean_square - (mean_square / d) ** 2),
            "ev_dictionary_learning": 1 - (error - (arrays["e"] ** 2).sum() / n) / variance,
            "fvu_sparsify": error / variance,
            "mse_sae_lens": error / n,
            "mse_sae_bench": error / n / n,
            "l2_loss_dictionary_learning": arrays["error_norm"] / n,
            "l2_ratio_sae_lens": arrays["length_ratio"] / n,
            "l1_sae_lens": arrays["activation"] / n,
        }
    missing = Measured(None, n=n, reason="not finite on these tokens")
    return {
        name: Measured(float(value), n=n) if np.isfinite(value) else missing
        for name, value in found.items()
    }


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


def _definition(name: str, unit: str, formula: str, package: str, text: str) -> MetricDefinition:
    higher = name.startswith("ev_")
    neither = name.startswith("l2_ratio")
    return MetricDefinition(
        name=name,
        version=1,
        unit=unit,
        better="neither" if neither else "higher" if higher else "lower",
        formula=formula,
        reference=package,
        description=f"{text} n counts tokens.",
    )


_LENS, _BENCH = "SAELens 6.54.12, evals.py", "SAEBench 0.6.0, evals/core/main.py"
_LEARNING = "dictionary_learning 0.1.0, evaluation.py"

METRIC = TallyMetric(
    definitions=(
        _definition(
            "ev_sae_lens",
            "share",
            "1 − Σ‖x − x̂‖² / Σ‖x − x̄‖²",
            f"{_LENS}, explained_variance",
            "Explained variance with one global mean: 1 − fvu.",
        ),
        _definition(
            "ev_legacy",
            "share",
            "mean_n 1 − ‖x − x̂‖² / ‖x − c‖², c the calibration mean",
            f"{_LENS} and {_BENCH}, explained_variance_legacy (of SAEBench's paper)",
            "A mean of ratios per token; the packages take the batch's mean for c. Tokens near "
            "the mean weigh as much as any other, and one of them can weigh more than all.",
        ),
        _definition(
            "ev_sae_bench",
            "share",
            "1 − mean‖x − x̂‖² / (S − (S / d)²), S = mean‖x‖²",
            f"{_BENCH}, explained_variance",
            "The denominator is not a variance: the mean of squares stands where the square of "
            "the mean belongs. It depends on the unit of x, and predicting the mean does not "
            "give 0.",
        ),
        _definition(
            "ev_dictionary_learning",
            "share",
            "1 − Σ_d Var(x − x̂) / Σ_d Var(x)",
            f"{_LEARNING}, frac_variance_explained",
            "A constant error costs nothing: x̂ = x + 1 scores 1.",
        ),
        _definition(
            "fvu_sparsify",
            "share",
            "Σ‖x − x̂‖² / Σ‖x − x̄‖²",
            "sparsify 1.3.3, sparse_coder.py",
            "In sparsify per training batch with the batch's mean; over all tokens it is fvu.",
        ),
        _definition(
            "mse_sae_lens",
            "squared activation",
            "mean_n Σ_d (x − x̂)²",
            f"{_LENS}, mse",
            "The same as mse.",
        ),
        _definition(
            "mse_sae_bench",
            "squared activation",
            "mean_n Σ_d (x − x̂)² / n",
            f"{_BENCH}, mse",
            "Divided by the number of tokens once more: it falls with the size of the batch, "
            "which is here all tokens.",
        ),
        _definition(
            "l2_loss_dictionary_learning",
            "activation",
            "mean_n ‖x − x̂‖",
            f"{_LEARNING}, l2_loss",
            "Length of the error, not its square.",
        ),
        _definition(
            "l2_ratio_sae_lens",
            "ratio",
            "mean_n ‖x̂‖ / ‖x‖",
            f"{_LENS}, {_BENCH} and {_LEARNING}, l2_ratio",
            "A mean of ratios per token, where l2_ratio is a ratio of sums.",
        ),
        _definition(
            "l1_sae_lens",
            "activation",
            "mean_n Σ_i a_i",
            f"{_LENS}, {_BENCH} and {_LEARNING}, l1",
            "Without the decoder rows' norms, so it depends on how scale is split between code "
            "and dictionary.",
        ),
    ),
    version=1,
    start=_start,
    values=_values,
)

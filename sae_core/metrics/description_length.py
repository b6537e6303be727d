"""How many bits a token's code takes: which latents are active, their values, and the dictionary.

The code that is counted can be built: which latents are active is sent latent by latent with an
arithmetic coder that knows each firing frequency; active values are rounded to a stated step and
sent with one table of frequencies for all latents; the decoder is sent once, and its cost is
shared by a stated number of tokens. The tables of frequencies are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric

if TYPE_CHECKING:
    import numpy as np

STEP = 1 / 8
PARAMETER_BITS = 16
TOKENS = 10**9


class _Tally:
    """Fires (f,) and how often each rounded value occurs: 16 bytes per distinct one."""

    def __init__(self, subject: Subject) -> None:
        import torch

        self.f, self.d = subject.dictionary.shape
        self.norms = torch.linalg.vector_norm(subject.dictionary, dim=1).cpu()
        self.input_scale = subject.input_scale
        self.fires = torch.zeros(self.f, dtype=torch.int64)
        self.values = torch.zeros(0, dtype=torch.int64)
        self.counts = torch.zeros(0, dtype=torch.int64)
        self.n_tokens = 0

    def add(self, seen: Seen) -> None:
        import torch

        code = seen.reconstruction.code
        latents = code.indices[code.fired].cpu()
        size = code.values[code.fired].cpu().double() * self.norms[latents] * self.input_scale
        new, counts = (size / STEP).floor().long().unique(return_counts=True)
        self.values, at = torch.cat([self.values, new]).unique(return_inverse=True)
        both = torch.cat([self.counts, counts])
        self.counts = torch.zeros_like(self.values).index_add_(0, at, both)
        self.fires += torch.bincount(latents, minlength=self.f)
        self.n_tokens += len(code.fired)

    def result(self) -> Mapping[str, np.ndarray]:
        """Numbers of tokens, latents and dimensions; fires (f,); counts of each rounded value."""
        import numpy as np

        return {
            "n_tokens": np.array(self.n_tokens),
            "shape": np.array([self.f, self.d]),
            "fires": self.fires.numpy(),
            "value_counts": self.counts.numpy(),
        }


def _entropy(counts: np.ndarray) -> float:
    """Of a distribution given by counts, in bits."""
    import numpy as np

    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def _values(arrays: Mapping[str, np.ndarray]) -> Mapping[str, Measured]:
    import numpy as np

    n, fires, (f, d) = int(arrays["n_tokens"]), arrays["fires"], arrays["shape"].tolist()
    share = np.stack([fires, n - fires]) / n
    location = float(-(share * np.log2(np.where(share > 0, share, 1))).sum())
    activation = float(fires.sum() / n) * _entropy(arrays["value_counts"])
    dictionary = (f * d + d) * PARAMETER_BITS / TOKENS
    found = {
        "description_bits": location + activation + dictionary,
        "location_bits": location,
        "activation_bits": activation,
        "dictionary_bits": dictionary,
    }
    return {name: Measured(value, n=n) for name, value in found.items()}


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


_REFERENCE = (
    "Ayonrinde, Pearce and Sharkey, Interpretability as Compression: Reconsidering SAE "
    "Explanations of Neural Activations with MDL-SAEs (2024), arXiv 2410.11179"
)


def _bits(name: str, formula: str, description: str) -> MetricDefinition:
    return MetricDefinition(
        name=name,
        version=1,
        unit="bits per token",
        better="lower",
        formula=formula,
        reference=_REFERENCE,
        description=f"{description} n counts tokens.",
    )


METRIC = TallyMetric(
    definitions=(
        _bits(
            "description_bits",
            "location_bits + activation_bits + dictionary_bits",
            "Bits per token to send the code and, once, the decoder; it says nothing without the "
            "error that is left (fvu).",
        ),
        _bits(
            "location_bits",
            "Σ_i −p_i log₂ p_i − (1 − p_i) log₂ (1 − p_i), p_i the firing frequency",
            "Bits per token that say which latents are active, each coded by its own frequency.",
        ),
        _bits(
            "activation_bits",
            f"L0 · H(⌊s a_i ‖d_i‖ / {STEP}⌋), H over all active latents together",
            f"Bits per token for the active values, rounded to {STEP} in units in which the "
            "activations' mean square per dimension is 1; rounding adds 1/768 of that unit per "
            "active latent to the squared error.",
        ),
        _bits(
            "dictionary_bits",
            f"(f d + d) · {PARAMETER_BITS} / 10⁹",
            f"The decoder with its bias at {PARAMETER_BITS} bits a parameter, shared by 10⁹ "
            "tokens.",
        ),
    ),
    version=1,
    start=_start,
    values=_values,
)

"""A sparse autoencoder: what every architecture shares."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from sae_kernels import sparse_decode
from torch import nn
from torch.nn.functional import normalize

from sae_core.code import SparseCode
from sae_core.config import SaeConfig
from sae_core.loss_terms import Activity, LossTerms
from sae_core.plain import PlainSae, Rule
from sae_core.training_context import TrainingContext


class Sae(nn.Module):
    """Sparse codes of activations x (n, d) and reconstructions from them.

    Inside, inputs are scaled by one number s (`input_scale`) so that E‖s x‖² = d, which makes
    penalties and thresholds comparable between sources; what goes in and comes out is in the raw
    units of x: x̂ = dec(enc(s x)) / s, and a code's values are divided by s as well.
    Parameters (float32): W_enc (f, d), b_enc (f,), W_dec (f, d), whose rows training keeps unit
    vectors where `unit_decoder`, b_dec (d,). Architectures implement `encode` and `losses`.
    """

    latent_parameters = ("W_enc", "b_enc", "W_dec")
    unit_decoder = True
    # Whether the encoder sees s x − b_dec, and why an SAE is no plain one, where it is none.
    subtracts_bias = True
    not_plain = "its architecture names no rule that chooses latents from z alone"

    def __init__(self, config: SaeConfig, *, width: int, written_width: int | None = None) -> None:
        super().__init__()
        self.config = config
        written = width if written_width is None else written_width
        self.W_enc = nn.Parameter(torch.zeros(config.n_latents, width))
        self.b_enc = nn.Parameter(torch.zeros(config.n_latents))
        self.W_dec = nn.Parameter(torch.zeros(config.n_latents, written))
        self.b_dec = nn.Parameter(torch.zeros(written))
        self.register_buffer("input_scale", torch.ones(()))

    @property
    def n_latents(self) -> int:
        """f."""
        return self.config.n_latents

    @property
    def n_experts(self) -> int | None:
        """Equal blocks of latents that are experts; None where latents are not divided."""
        return None

    @property
    def router(self) -> torch.Tensor | None:
        """Rows (E_r, d) that choose among the last E_r experts; None where there are none."""
        return None

    @property
    def width(self) -> int:
        """d of what it reconstructs."""
        return self.b_dec.shape[0]

    @property
    def widths(self) -> tuple[int, ...]:
        """d of its source, then of each further site that a training batch holds beside it."""
        return (self.width,)

    @property
    def reads(self) -> range:
        """Which of those the encoder reads, side by side."""
        return range(1)

    @property
    def writes(self) -> range:
        """Which of those it reconstructs, side by side."""
        return range(1)

    @property
    def written_scale(self) -> torch.Tensor:
        """s of what it reconstructs: 0-d, or (d,) where it is several sites."""
        return self.input_scale

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The sparse code of activations x (n, d), by the rule used after training."""
        raise NotImplementedError

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """The training loss on activations x (n, d) and what it activated; changes no state."""
        raise NotImplementedError

    def decode(self, code: SparseCode) -> torch.Tensor:
        """Reconstructions (n, d) of a code: b_dec / s + Σ_j values_nj · W_dec[indices_nj]."""
        bias = self.b_dec / self.input_scale
        return sparse_decode(code.indices, code.values, self.W_dec, bias)

    def reconstruct(self, x: torch.Tensor, code: SparseCode) -> torch.Tensor:
        """Reconstructions (n, d) where a code is all or, with a skip, part of what gives them."""
        return self.decode(code)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstructions (n, d) of activations x (n, d)."""
        return self.reconstruct(x, self.encode(x))

    def calibrate(self, batches: Iterable[torch.Tensor]) -> None:
        """Sets what inference needs from calibration activations (n, d); nothing by default."""

    def observe(self, activity: Activity, healthy: torch.Tensor) -> None:
        """Updates running statistics after a training step, where `healthy` (0-d bool)."""

    def completed(self, gradients: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """The parameters' gradients in full, where `losses` gave them in part; as they are."""
        return gradients

    def initialise_rest(self, *, seed: int) -> None:
        """Sets the parameters that an architecture adds, after the shared ones; 0 by default."""

    def fit_start(self, rows: torch.Tensor | None) -> None:
        """Sets, last of all, what the start takes from calibration rows (m, d) in raw units."""

    def encoder_gain(self) -> float:
        """Norm of the encoder's rows at the start."""
        return 1.0

    def decoder_gain(self) -> float:
        """Norm of the decoder's rows at the start."""
        return 1.0

    def rule(self) -> Rule | None:
        """How latents are kept after training, in raw units; None where z alone does not tell."""
        return None

    @torch.no_grad()
    def plain(self) -> PlainSae | None:
        """The same SAE as plain data in raw units, s folded in; None where it is no plain one.

        z / s = W_enc (x − b_dec / s) + b_enc / s, so biases and thresholds are divided by s.
        """
        rule = self.rule()
        if rule is None:
            return None
        b_enc, b_dec = (bias.detach() / self.input_scale for bias in (self.b_enc, self.b_dec))
        maps = (self.W_enc.detach().clone(), b_enc, self.W_dec.detach().clone(), b_dec)
        return PlainSae(*maps, rule, centred=self.subtracts_bias)

    def near_plain(self) -> PlainSae | None:
        """A plain SAE that leaves out what makes this one none; None where nothing comes near."""
        return None

    def dictionary(self) -> torch.Tensor:
        """The latents' unit directions (f, d), detached."""
        return normalize(self.W_dec.detach())

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        """s x, in the parameters' precision, in rows: the same bits from any memory layout.

        Raises ValueError where x is not (n, d).
        """
        width = self.W_enc.shape[1]
        if x.ndim != 2 or x.shape[1] != width:
            raise ValueError(
                f"got activations of shape {tuple(x.shape)}. Allowed: (n, {width}), a row per "
                "token, of the site that this SAE was trained on. Reshape batches of texts with "
                "x.reshape(-1, x.shape[-1])."
            )
        return (x.to(self.W_enc.dtype) * self.input_scale).contiguous()

    def centred(self, x: torch.Tensor) -> torch.Tensor:
        """s x − b_dec, what the encoder sees."""
        return self.scaled(x) - self.b_dec

    def training_bias(self) -> torch.Tensor:
        """b_enc in value, with the gradient that reaches b_dec through a detached encoder input."""
        return self.b_enc + self.centring()

    def centring(self) -> torch.Tensor:
        """Zeros (f,) that carry the encoder input's gradient to b_dec, which it subtracts.

        ∂z/∂b_dec = −W_enc, so that gradient is −W_encᵀ · (Σ_n ∂L/∂z): one (f, d) product, where
        going through the input would take an (n, d) gradient of the whole batch.
        """
        return self.W_enc.detach() @ (self.b_dec.detach() - self.b_dec)

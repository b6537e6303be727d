"""An SAE after training as plain data: an affine map, a rule that keeps latents, an affine map.

This is what other packages' files hold, and the slow and obvious way to encode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import linear

TOKEN_EPSILON = 1e-5  # added to a token's standard deviation


@dataclass(frozen=True)
class Relu:
    """Every latent with z > 0."""

    def kept(self, z: torch.Tensor) -> torch.Tensor:
        """Activations (n, f) of pre-activations z (n, f)."""
        return z.relu()


@dataclass(frozen=True)
class TopK:
    """The k largest z of each token, where they are > 0."""

    k: int

    def kept(self, z: torch.Tensor) -> torch.Tensor:
        """Activations (n, f) of pre-activations z (n, f)."""
        places = z.topk(self.k, dim=1).indices
        return torch.zeros_like(z).scatter(1, places, z.gather(1, places)).relu()


@dataclass(frozen=True)
class GroupMax:
    """The largest z of each of k equal blocks of latents, where it is > 0."""

    k: int

    def kept(self, z: torch.Tensor) -> torch.Tensor:
        """Activations (n, f) of pre-activations z (n, f)."""
        groups = z.view(len(z), self.k, -1)
        places = groups.argmax(2, keepdim=True)
        largest = torch.zeros_like(groups).scatter(2, places, groups.gather(2, places))
        return largest.view_as(z).relu()


@dataclass(frozen=True, eq=False)
class Threshold:
    """Every latent with z > θ_i and z > 0; `theta` (f,). `k`: the L0 that θ was set for, if any."""

    theta: torch.Tensor
    k: int | None = None

    def kept(self, z: torch.Tensor) -> torch.Tensor:
        """Activations (n, f) of pre-activations z (n, f)."""
        return z.relu().masked_fill(z <= self.theta, 0.0)


@dataclass(frozen=True, eq=False)
class Gate:
    """ReLU(e^r (z − b) + m) where z > 0, z with the gate's bias b; each (f,).

    `bias` b, `log_gain` r, `magnitude_bias` m.
    """

    bias: torch.Tensor
    log_gain: torch.Tensor
    magnitude_bias: torch.Tensor

    def kept(self, z: torch.Tensor) -> torch.Tensor:
        """Activations (n, f) of pre-activations z (n, f)."""
        magnitudes = (self.log_gain.exp() * (z - self.bias) + self.magnitude_bias).relu()
        return magnitudes.masked_fill(z <= 0, 0.0)


Rule = Relu | TopK | GroupMax | Threshold | Gate


@dataclass(frozen=True, eq=False)
class PlainSae:
    """z = W_enc (x − [b_dec]) + b_enc; a = rule(z); x̂ = W_decᵀ a + b_dec [+ W_skipᵀ x], raw units.

    `W_enc` (f, d), `b_enc` (f,), `W_dec` (f, d'), `b_dec` (d',), `W_skip` (d, d') or none; b_dec is
    subtracted from x where `centred`. Where `per_token`, x stands for (x − μ) / (σ + ε) with the
    token's own mean and (unbiased) standard deviation, ε = 1e-5, and activations and x̂ are
    multiplied by σ, μ added to x̂. `groups`: sizes of a Matryoshka's groups, where it has some.
    """

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    rule: Rule
    centred: bool = True
    W_skip: torch.Tensor | None = None
    per_token: bool = False
    groups: tuple[int, ...] | None = None

    @property
    def n_latents(self) -> int:
        """f."""
        return self.W_enc.shape[0]

    @property
    def width(self) -> int:
        """d of what it reads."""
        return self.W_enc.shape[1]

    @property
    def written_width(self) -> int:
        """d' of what it reconstructs."""
        return self.W_dec.shape[1]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The dense code (n, f) of activations x (n, d)."""
        seen, spread, _ = self._seen(x)
        z = linear(seen - self.b_dec if self.centred else seen, self.W_enc, self.b_enc)
        return self.rule.kept(z) * spread

    def reconstruct(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Reconstructions (n, d') from the dense code (n, f) of activations x (n, d)."""
        seen, spread, mean = self._seen(x)
        made = code @ self.W_dec + self.b_dec * spread + mean
        return made if self.W_skip is None else made + (seen @ self.W_skip) * spread

    def _seen(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What is encoded (n, d), and each token's σ and μ (n, 1), or 1 and 0 (1, 1)."""
        if not self.per_token:
            return x, x.new_ones(1, 1), x.new_zeros(1, 1)
        return normalised_per_token(x)


def normalised_per_token(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(x − μ) / (σ + ε) for x (n, d), with σ and μ (n, 1)."""
    x = x.contiguous()  # sums in one order, whatever the memory layout
    mean = x.mean(1, keepdim=True)
    centred = x - mean
    spread = centred.std(1, keepdim=True)
    return centred / (spread + TOKEN_EPSILON), spread, mean

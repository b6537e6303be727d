"""Adam on an SAE's parameters, with gradients clipped and unit decoder rows."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

import torch
from sae_kernels import AdamSettings, adam_rows, gradient_norms

from sae_core.ranks import ALONE, Ranks, summed
from sae_core.sae import Sae


class ReadyGradient(NamedTuple):
    """A parameter's gradient and what its rows are multiplied by: (r,), 0-d, or none for 1."""

    gradient: torch.Tensor
    factors: torch.Tensor | None


class RowAdam:
    """Adam whose gradients are clipped and whose decoder rows stay unit vectors.

    A row is what belongs to one latent; any other parameter is one row. Where the SAE's decoder
    rows are unit, their gradient loses its part along the row before clipping (it would only
    change the norm), and rows are normalised after the step. `clip` bounds the norm of every row,
    or with `clip_by: global` of all gradients together. With `moments: bfloat16` the moments take
    half the memory and are rounded by chance. Bit-wise deterministic on one kind of
    machine; nothing waits for the device.
    Where latents are divided among ranks, `shards`, the norm of all gradients is of all latents.
    Reference: Kingma and Ba, "Adam" (2015); Bricken et al., "Towards monosemanticity" (2023),
    for the removed part.
    """

    def __init__(self, sae: Sae, *, shards: Ranks = ALONE) -> None:
        self.sae, self.shards = sae, shards
        self.names = [name for name, _ in sae.named_parameters()]
        self.parameters = [parameter for _, parameter in sae.named_parameters()]
        dtype = torch.bfloat16 if sae.config.moments == "bfloat16" else None
        self.mean = [torch.zeros_like(p, dtype=dtype) for p in self.parameters]
        self.mean_square = [torch.zeros_like(p, dtype=dtype) for p in self.parameters]
        self.count = torch.zeros((), device=sae.b_dec.device)

    @torch.no_grad()
    def prepare(
        self, gradients: tuple[torch.Tensor, ...]
    ) -> tuple[list[ReadyGradient], torch.Tensor]:
        """The gradients to step with, and the norm (0-d) of all of them before clipping."""
        norms = [
            gradient_norms(*self._rows(name, parameter, gradient), unit_rows=self._unit(name))
            for name, parameter, gradient in zip(
                self.names, self.parameters, gradients, strict=True
            )
        ]
        total = self._over_shards([norm.square().sum() for norm in norms]).sum().sqrt()
        bounded = [total] * len(norms) if self.sae.config.clip_by == "global" else norms
        ready = [
            ReadyGradient(gradient, self._factors(norm))
            for gradient, norm in zip(gradients, bounded, strict=True)
        ]
        return ready, total

    @torch.no_grad()
    def step(
        self, ready: list[ReadyGradient], *, lr: float, healthy: torch.Tensor, seed: int = 0
    ) -> None:
        """One Adam step where `healthy` (0-d bool); elsewhere every tensor keeps its bits.

        `seed` decides, with the number of steps taken, how moments in bfloat16 are rounded.
        """
        config = self.sae.config
        self.count += healthy
        moments = zip(self.mean, self.mean_square, strict=True)
        for name, parameter, (gradient, factors), (mean, square) in zip(
            self.names, self.parameters, ready, moments, strict=True
        ):
            adam_rows(
                *self._rows(name, parameter, gradient, mean, square),
                factors=factors,
                count=self.count,
                healthy=healthy,
                settings=AdamSettings(
                    lr, config.beta1, config.beta2, config.eps, _rounding_seed(seed, name)
                ),
                unit_rows=self._unit(name),
            )

    def state(self) -> dict[str, torch.Tensor]:
        """The moments and the number of steps, by name."""
        state = {"count": self.count}
        for name, mean, square in zip(self.names, self.mean, self.mean_square, strict=True):
            state[f"mean.{name}"], state[f"mean_square.{name}"] = mean, square
        return state

    def _over_shards(self, sums: list[torch.Tensor]) -> torch.Tensor:
        """The parameters' sums (p,), those of latents over all ranks' latents."""
        own = torch.stack(sums)
        if self.shards.size == 1:
            return own
        whole = summed(own, self.shards)
        return torch.stack(
            [
                whole[i] if name in self.sae.latent_parameters else own[i]
                for i, name in enumerate(self.names)
            ]
        )

    def _factors(self, norms: torch.Tensor) -> torch.Tensor | None:
        clip = self.sae.config.clip
        # A norm of 0 divides to inf and is clamped to a factor of 1.
        return None if clip is None else (clip / norms).clamp_(max=1.0)

    def _unit(self, name: str) -> bool:
        return self.sae.unit_decoder and name == "W_dec"

    def _rows(
        self, name: str, parameter: torch.Tensor, gradient: torch.Tensor, *moments: torch.Tensor
    ) -> list[torch.Tensor]:
        """All as rows: views, since a step writes through them; only a gradient may be copied."""
        n_rows = self.sae.n_latents if name in self.sae.latent_parameters else 1
        views = [tensor.view(n_rows, -1) for tensor in (parameter, *moments)]
        return [views[0], gradient.reshape(n_rows, -1), *views[1:]]


@cache
def _rounding_seed(seed: int, name: str) -> int:
    """31 bits of (seed, parameter): no two parameters are rounded by the same chance."""
    key = hashlib.blake2b(f"rounding/{seed}/{name}".encode(), digest_size=4).digest()
    return int.from_bytes(key, "little") >> 1

"""The moving average of an SAE's weights, which evaluation uses where the recipe asks for it."""

from __future__ import annotations

import copy
import math

import torch
from torch.nn.functional import normalize

from sae_core.sae import Sae


class WeightAverage:
    """w̄ = Σ_t c_t w_t / Σ_t c_t over the weights after each step, c_t = e^(−tokens since / window).

    A step of n tokens keeps e^(−n / window) of what was gathered: the average does not depend on
    the batch size, and without a start to forget the first steps count as much as they should.
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); Gao et al.,
    "Scaling and evaluating sparse autoencoders" (2024), appendix A.3, whose code averages before a
    step; here it is after it.
    """

    def __init__(self, sae: Sae, *, window: float) -> None:
        self.window = window
        self.sums = {name: torch.zeros_like(p) for name, p in sae.named_parameters()}
        self.weight = torch.zeros((), device=sae.b_dec.device)

    @torch.no_grad()
    def add(self, sae: Sae, *, n: int, healthy: torch.Tensor) -> None:
        """Takes in the weights after a step of n tokens, where `healthy` (0-d bool)."""
        step = torch.where(healthy, -math.expm1(-n / self.window), 0.0)
        for name, parameter in sae.named_parameters():
            total = self.sums[name]
            total.lerp_(torch.where(healthy, parameter, total), step)
        self.weight.lerp_(torch.ones_like(step), step)

    @torch.no_grad()
    def forget(self, sae: Sae, chosen: torch.Tensor) -> None:
        """Replaces the averages of the chosen latents (f,) bool by their weights of now."""
        for name in sae.latent_parameters:
            parameter, total = sae.get_parameter(name), self.sums[name]
            rows = chosen.view(-1, *[1] * (parameter.ndim - 1))
            total.copy_(torch.where(rows, parameter * self.weight, total))

    @torch.no_grad()
    def averaged(self, sae: Sae) -> Sae:
        """A copy of the SAE with the averaged weights; its own before the first step.

        Decoder rows that training keeps unit vectors are normalised: an average of unit vectors is
        shorter.
        """
        made = copy.deepcopy(sae)
        if not self.weight > 0:
            return made
        for name, parameter in made.named_parameters():
            parameter.copy_(self.sums[name] / self.weight)
        if made.unit_decoder:
            made.W_dec.copy_(normalize(made.W_dec))
        return made

    def state(self) -> dict[str, torch.Tensor]:
        """What the average has gathered, by name."""
        return self.sums | {"weight": self.weight}

"""Adam on an SAE's parameters, with gradients clipped per latent and unit decoder rows."""

from __future__ import annotations

import torch

from sae_core.sae import Sae


class RowAdam:
    """Adam whose gradients are clipped by row and whose decoder rows stay unit vectors.

    A row is what belongs to one latent; b_dec is one row. The decoder's gradient loses its part
    along the row before clipping (it would only change the norm), and rows are normalised after
    the step: both only where the SAE has a `unit_decoder`. Bit-wise deterministic on one kind
    of machine; nothing waits for the device.
    Reference: Kingma and Ba, "Adam" (2015); Bricken et al., "Towards monosemanticity" (2023),
    for the removed part.
    """

    def __init__(self, sae: Sae) -> None:
        self.sae = sae
        self.names = [name for name, _ in sae.named_parameters()]
        self.parameters = [parameter for _, parameter in sae.named_parameters()]
        self.mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.mean_square = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = torch.zeros((), device=sae.b_dec.device)

    @torch.no_grad()
    def prepare(
        self, gradients: tuple[torch.Tensor, ...]
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The gradients to step with, and the norm (0-d) of all of them before clipping."""
        ready, square_norms = [], []
        for name, parameter, gradient in zip(self.names, self.parameters, gradients, strict=True):
            if name == "W_dec" and self.sae.unit_decoder:
                along = torch.linalg.vecdot(gradient, parameter)
                gradient = torch.addcmul(gradient, parameter, along.unsqueeze(1), value=-1)
            rows = gradient.reshape(self._n_rows(name), -1)
            norms = torch.linalg.vector_norm(rows, dim=1)
            square_norms.append(norms.square().sum())
            if self.sae.config.clip is not None:
                # A row of norm 0 divides to inf and is clamped to a factor of 1.
                factors = (self.sae.config.clip / norms).clamp_(max=1.0)
                rows = rows * factors.unsqueeze(1)
            ready.append(rows.view_as(parameter))
        return ready, torch.stack(square_norms).sum().sqrt()

    @torch.no_grad()
    def step(self, gradients: list[torch.Tensor], *, lr: float, healthy: torch.Tensor) -> None:
        """One Adam step where `healthy` (0-d bool); elsewhere every tensor keeps its bits."""
        config = self.sae.config
        self.count += healthy
        torch._fused_adam_(
            self.parameters,
            gradients,
            self.mean,
            self.mean_square,
            [],
            [self.count] * len(self.parameters),
            lr=lr,
            beta1=config.beta1,
            beta2=config.beta2,
            weight_decay=0.0,
            eps=config.eps,
            amsgrad=False,
            maximize=False,
            found_inf=(~healthy).to(torch.float32),
        )
        if self.sae.unit_decoder:
            decoder = self.sae.W_dec
            norms = torch.linalg.vector_norm(decoder, dim=1, keepdim=True)
            decoder.div_(torch.where(healthy & (norms > 0), norms, 1.0))

    def state(self) -> dict[str, torch.Tensor]:
        """The moments and the number of steps, by name."""
        state = {"count": self.count}
        for name, mean, square in zip(self.names, self.mean, self.mean_square, strict=True):
            state[f"mean.{name}"], state[f"mean_square.{name}"] = mean, square
        return state

    def _n_rows(self, name: str) -> int:
        return self.sae.n_latents if name in self.sae.latent_parameters else 1

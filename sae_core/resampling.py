"""Dead latents start anew in the directions of inputs that are reconstructed badly.

Formula: at the stated shares of the budget, each latent that has not fired for the dead window gets
an input x of its own, drawn without replacement with p(x) ∝ L(x)², L = ‖s x − s x̂‖², from the
`resample_window` tokens before. With u = (s x − b_dec) / ‖s x − b_dec‖: W_dec row = u (times the
decoder's gain), W_enc row = 0.2 · u · the mean norm of the alive latents' encoder rows, every other
parameter of the latent what it was at the start (b_enc: 0); its moments in the optimiser are 0, its
counter is 0, and an average of weights forgets it.
Reference: Bricken et al., "Towards monosemanticity" (2023), appendix "Neuron resampling".
Ours differs: an input's loss is the one at its own step within the window, where the paper runs the
SAE at the moment of resampling over stored inputs: only the candidates that would be drawn so far
are held (f rows), whatever the window; the dead window is the run's own; the direction is centred
by b_dec, as the encoder's inputs are (the paper's decoder takes x). Adam's count is not reset: with
β of 0.9 and 0.999 a new row's first step is about 3 times lr, hence `resample_warmup_share`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from sae_core.draws import generator, sent
from sae_core.sae import Sae

if TYPE_CHECKING:
    from sae_core.config import SaeConfig
    from sae_core.optim import RowAdam


class Resampler:
    """The candidates of a window, and what a new latent starts with.

    Memory: f rows of d float32 and their keys. Draws are keyed by (seed, step). Keeping the f
    largest of log L² + G, G standard Gumbel, is drawing f inputs one after the other without
    replacement (Gumbel-top-k: Kool et al., "Stochastic beams and where to find them", 2019).
    """

    def __init__(self, sae: Sae) -> None:
        self.rows = torch.zeros_like(sae.W_enc, requires_grad=False)
        self.keys = torch.full_like(sae.b_enc, -torch.inf, requires_grad=False)
        self.total = torch.zeros((), dtype=torch.int64, device=sae.b_dec.device)
        self._starts = {
            name: sae.get_parameter(name).detach().clone()
            for name in sae.latent_parameters
            if name not in ("W_enc", "W_dec")
        }

    @torch.no_grad()
    def collect(self, scaled: torch.Tensor, losses: torch.Tensor, *, seed: int, step: int) -> None:
        """Takes in a step's scaled inputs (n, d) with their losses (n,); 0 is never drawn."""
        draws = torch.rand(len(losses), generator=generator(seed, "resampling", step=step))
        noise = -torch.log(-torch.log(draws.clamp(min=torch.finfo(draws.dtype).tiny)))
        keys = 2 * losses.log() + sent(noise, losses.device)
        keys = torch.where(keys.isnan(), -torch.inf, keys)
        best = torch.cat([self.keys, keys]).topk(len(self.keys))
        self.keys.copy_(best.values)
        self.rows.copy_(torch.cat([self.rows, scaled])[best.indices])

    @torch.no_grad()
    def resample(self, sae: Sae, optimiser: RowAdam, dead: torch.Tensor) -> torch.Tensor:
        """Starts `dead` latents (f,) bool anew and empties the window; gives those started, (f,).

        A dead latent for which no candidate is left stays as it is.
        """
        place = (dead.cumsum(0) - 1).clamp_(min=0)
        centred = self.rows[place] - sae.b_dec
        chosen = dead & self.keys[place].isfinite() & (centred != 0).any(1)
        directions = normalize(centred)
        norms = torch.linalg.vector_norm(sae.W_enc, dim=1)
        alive = torch.where(dead.all(), torch.ones_like(dead), ~dead)
        size = sae.config.resample_encoder_scale * (norms * alive).sum() / alive.sum()
        fresh = self._starts | {
            "W_enc": size * directions,
            "W_dec": directions * sae.decoder_gain(),
        }
        moments = dict(zip(optimiser.names, _pairs(optimiser), strict=True))
        for name in sae.latent_parameters:
            parameter = sae.get_parameter(name)
            rows = chosen.view(-1, *[1] * (parameter.ndim - 1))
            parameter.copy_(torch.where(rows, fresh[name], parameter))
            for moment in moments[name]:
                moment.masked_fill_(rows, 0)
        self.keys.fill_(-torch.inf)
        self.total += chosen.sum()
        return chosen

    def state(self) -> dict[str, torch.Tensor]:
        """The candidates and the number of latents started anew so far, by name."""
        return {"rows": self.rows, "keys": self.keys, "total": self.total}


def _pairs(optimiser: RowAdam) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(optimiser.mean, optimiser.mean_square, strict=True))


def resampling_phase(config: SaeConfig, *, seen: int, n: int) -> tuple[bool, bool]:
    """Whether a step of n tokens after `seen` is in a window, and whether it ends one."""
    last = 0.0
    for share in config.resample_at:
        due = share * config.tokens
        if seen < due:
            start = max(last, due - config.resample_window)
            return seen + n > start, seen + n >= due
        last = due
    return False, False

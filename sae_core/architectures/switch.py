"""Switch: a router sends each token to one or a few experts, blocks of the latents.

Idea: most of a TopK step is the encoder's product with all f latents. With E experts only the
chosen blocks of f / E latents are multiplied: a dictionary E times as large at the same cost.
Formula: p = softmax(W_r (s x − b_r)); the e experts with the largest p, of equal ones the first;
gates g = p for e = 1, p / Σ p over the chosen ones for e > 1, 1 for an always-on expert;
a_i = g · ReLU(W_enc (s x − b_dec) + b_enc)_i for the latents i of chosen experts, the k largest
kept; s x̂ = W_decᵀ a + b_dec; L = mean_n ‖s x − s x̂‖² + α · V · E_r Σ_j f_j P_j over the E_r
experts that are routed to: f_j the share of choices that fell on j, P_j the mean of p_j, V the
inputs' total variance. The last sum is 1 where experts are used alike.
Reference: Mudide, Engels, Michaud, Tegmark and Schroeder de Witt, "Efficient dictionary learning
with switch sparse autoencoders" (2024); Fedus, Zoph and Shazeer, "Switch transformers" (2021), for
the load balance.
Ours differs: several experts and an always-on one are choices; α multiplies V, at E‖s x‖² = d
nearly d, where the paper's code multiplies d, and is 0.1 where the paper has 3: that balances toy
data as evenly and leaves gates their size; no AuxK, as in the paper's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from sae_kernels import linear_topk, sparse_decode
from torch import nn
from torch.nn.functional import linear, normalize

from sae_core.active_latents import ActiveLatentsConfig
from sae_core.code import SparseCode
from sae_core.draws import generator
from sae_core.loss_terms import Activity, LossTerms, activity_of
from sae_core.plain import PlainSae, TopK
from sae_core.ranks import ALONE, Ranks, summed
from sae_core.reconstruction import loss_unit, reconstruction_loss
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

_NO_AUXK = (
    "AuxK picks among all dead latents, and a token is multiplied with those of its experts alone: "
    "the others would learn from tokens that the router does not send them"
)


class SwitchConfig(ActiveLatentsConfig):
    """Switch's configuration."""

    refused: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"auxk_weight": _NO_AUXK, "k_aux": _NO_AUXK}
    )

    no_resampling: ClassVar[str | None] = (
        "inputs are drawn for all latents alike, and the router may send one to experts that the "
        "latent made of it does not belong to"
    )
    needs_whole_batch: ClassVar[str | None] = "its load balance multiplies means over a batch"
    ranks_make_it_whole: ClassVar[bool] = True  # they count together how often experts are chosen
    # One product per group as large as the group: sizes known beforehand would need room for every
    # token in every group, or for twice the tokens where groups are cut into parts.
    waits_in_steps: ClassVar[str | None] = "how many tokens chose each expert decides its products"
    architecture: Literal["switch"] = Field("switch", description="Switch, mixture of experts.")
    n_experts: int = Field(
        8, ge=2, description="E: blocks of n_latents / E latents, an always-on one among them."
    )
    experts_per_token: int = Field(1, ge=1, description="e: experts that the router chooses.")
    always_on: bool = Field(
        False, description="Whether the first expert sees every token, beside the chosen ones."
    )
    balance_weight: float = Field(
        0.1, ge=0, description="α, the weight of the load balance, as a share of V (paper: 3)."
    )

    @property
    def has_experts(self) -> bool:
        """Always."""
        return True

    @property
    def n_routed(self) -> int:
        """E_r, the experts that the router chooses from."""
        return self.n_experts - self.always_on

    @property
    def expert_width(self) -> int:
        """Latents of one expert."""
        return self.n_latents // self.n_experts

    @model_validator(mode="after")
    def _experts_fit(self) -> SwitchConfig:
        if self.n_latents % self.n_experts:
            raise ValueError(
                f"n_latents = {self.n_latents} among n_experts = {self.n_experts}. Allowed: a "
                "multiple of n_experts. Change one of them."
            )
        if self.experts_per_token > self.n_routed:
            raise ValueError(
                f"experts_per_token = {self.experts_per_token} of {self.n_routed} experts that are "
                f"routed to. Allowed: 1 to {self.n_routed}. Lower it or raise n_experts."
            )
        active = (self.experts_per_token + self.always_on) * self.expert_width
        if self.k_at(0.0) > active:
            raise ValueError(
                f"k = {self.k_at(0.0)} active latents of the {active} that a token's experts have. "
                f"Allowed: 1 to {active}. Lower k, or raise n_latents or experts_per_token."
            )
        return self


class Routing(NamedTuple):
    """Where tokens go: `experts` (n, c) int64 and their `gates` (n, c), the always-on one first.

    `probabilities` (n, E_r) of the experts that are routed to; `chosen` (n, e) among those.
    """

    experts: torch.Tensor
    gates: torch.Tensor
    probabilities: torch.Tensor
    chosen: torch.Tensor


class SwitchSae(Sae):
    """Mixture of TopK experts.

    Latents j · f / E to (j + 1) · f / E belong to expert j. Further parameters: W_router (E_r, d)
    and b_router (d,), which belong to no latent.
    """

    config: SwitchConfig
    not_plain = "a router chooses each token's experts and scales their latents by its gates"

    def __init__(self, config: SwitchConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        self.W_router = nn.Parameter(torch.zeros(config.n_routed, width))
        self.b_router = nn.Parameter(torch.zeros(width))

    @property
    def n_experts(self) -> int:
        """E, an always-on expert among them."""
        return self.config.n_experts

    @property
    def router(self) -> torch.Tensor:
        """W_router."""
        return self.W_router

    def initialise_rest(self, *, seed: int) -> None:
        """Random unit rows for the router, and the decoder's bias for its own."""
        draw = torch.randn(self.W_router.shape, generator=generator(seed, "router"))
        self.W_router.copy_(normalize(draw))
        self.b_router.copy_(self.b_dec)

    def encode(self, x: torch.Tensor) -> SparseCode:
        """The k largest gated latents of each token's experts: (n, k), raw units."""
        scaled = self.scaled(x)
        routing = self.route(scaled)
        indices, values = self._code(scaled - self.b_dec, routing, self.b_enc, self.config.k)
        return SparseCode(indices, values / self.input_scale, self.n_latents)

    @torch.no_grad()
    def near_plain(self) -> PlainSae:
        """TopK over the latents of all experts, without router and gates."""
        b_enc, b_dec = (bias.detach() / self.input_scale for bias in (self.b_enc, self.b_dec))
        maps = (self.W_enc.detach().clone(), b_enc, self.W_dec.detach().clone(), b_dec)
        return PlainSae(*maps, TopK(self.config.k))

    def losses(self, x: torch.Tensor, context: TrainingContext) -> tuple[LossTerms, Activity]:
        """Reconstruction and load balance on activations x (n, d)."""
        config = self.config
        scaled = self.scaled(x)
        routing = self.route(scaled)
        k, bias = config.k_at(context.progress), self.training_bias()
        indices, values = self._code(scaled - self.b_dec.detach(), routing, bias, k)
        error = scaled - sparse_decode(indices, values, self.W_dec, self.b_dec)
        measured, total = reconstruction_loss(error, scaled, config.loss_scale, context)
        balance = load_balance(routing, context.ranks)
        total = total + config.balance_weight * loss_unit(config.loss_scale, context) * balance
        activity = activity_of(indices, values.detach(), n=len(x), f=self.n_latents)
        terms = {"reconstruction": measured, "load_balance": balance}
        return LossTerms(total, terms, error.detach()), activity

    def route(self, scaled: torch.Tensor) -> Routing:
        """Where tokens s x (n, d) go."""
        config = self.config
        logits = linear(scaled, self.W_router, -(self.W_router @ self.b_router))
        probabilities = logits.softmax(1)
        order = probabilities.detach().sort(dim=1, descending=True, stable=True).indices
        chosen = order[:, : config.experts_per_token]
        gates = probabilities.gather(1, chosen)
        if config.experts_per_token > 1:
            gates = gates / gates.sum(1, keepdim=True)
        if not config.always_on:
            return Routing(chosen, gates, probabilities, chosen)
        first = torch.zeros_like(chosen[:, :1])
        experts = torch.cat([first, chosen + 1], dim=1)
        gates = torch.cat([torch.ones_like(gates[:, :1]), gates], dim=1)
        return Routing(experts, gates, probabilities, chosen)

    def _code(
        self, centred: torch.Tensor, routing: Routing, bias: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices and values (n, k) of the k largest gated latents of each token's experts.

        Tokens are grouped by expert, so that each block of the encoder is multiplied once, with
        the tokens that chose it. A token's k largest are among the k largest of each expert; of
        equal ones, that of the likelier expert is kept. The host waits for the groups' sizes.
        """
        (n, n_chosen), width = routing.experts.shape, self.config.expert_width
        order = routing.experts.reshape(-1).argsort(stable=True)
        sizes = _counts(routing.experts, self.config.n_experts)
        groups = order.div(n_chosen, rounding_mode="floor").split(sizes.tolist())
        # One split of each parameter: slices would make a gradient of the whole for every expert.
        blocks = self.W_enc.view(-1, width, self.width).unbind(0)
        biases = bias.view(-1, width).unbind(0)
        kept = min(k, width)
        found = [
            linear_topk(centred[tokens], *block, kept)
            for tokens, *block in zip(groups, blocks, biases, strict=True)
        ]
        back = order.argsort()
        shape = (n, n_chosen, kept)
        indices = torch.cat([part[0] for part in found])[back].view(shape)
        values = torch.cat([part[1] for part in found])[back].view(shape)
        indices = (indices + width * routing.experts.unsqueeze(-1)).view(n, -1)
        values = (values * routing.gates.unsqueeze(-1)).view(n, -1)
        if n_chosen > 1:
            best = values.detach().sort(dim=1, descending=True, stable=True).indices[:, :k]
            indices, values = indices.gather(1, best), values.gather(1, best)
        return indices.masked_fill(values.detach() == 0, 0), values


def load_balance(routing: Routing, ranks: Ranks = ALONE) -> torch.Tensor:
    """E_r Σ_j f_j P_j, 0-d: 1 where experts are chosen alike, up to E_r where one takes all.

    With several ranks f_j is of all their choices and P_j of this rank's tokens, so that the mean
    over tokens is the whole batch's, and so is that of the gradients: f_j has none.
    """
    n_routed = routing.probabilities.shape[1]
    counts = _counts(routing.chosen, n_routed)
    number = routing.chosen.numel()
    if ranks.size > 1:
        counts = summed(counts, ranks)
        number = counts.sum()
    shares = counts.to(routing.probabilities.dtype) / number
    return n_routed * (shares * routing.probabilities.mean(0)).sum()


def _counts(experts: torch.Tensor, n_experts: int) -> torch.Tensor:
    """How often each expert was chosen (E,); a library's bincount would wait for its length."""
    return (experts.reshape(-1, 1) == torch.arange(n_experts, device=experts.device)).sum(0)


CONFIG = SwitchConfig
SAE = SwitchSae

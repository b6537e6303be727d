"""Matryoshka: every prefix of the dictionary reconstructs by itself.

Idea: in a plain dictionary a general latent is split up or absorbed by special ones as the width
grows. Here the first latents must reconstruct without the later ones, so general ones come first.
Formula: a as in BatchTopK over all f latents; e_l = s x − b_dec − Σ_{i < l} a_i d_i, the error of
the first l latents; L = mean_n Σ_l w_l ‖e_l‖² + AuxK on e_f, with weights w by `prefixes`:
`groups`: 1 / G on the ends of G groups of latents (or 1 each, `combine: sum`); `sampled`: each
step `n_prefixes` − 1 lengths l < f drawn with probability ∝ l^−γ, and f, their mean or sum; `all`:
what `sampled` is on average, over all f lengths exactly: 1 / n_prefixes on f, the rest by those
probabilities. At O(k d) per token every w costs about the same (nested decoding: a token's error
changes only at its active latents).
Reference: Bussmann, Nabeshima, Karvonen and Nanda, "Learning multi-level features with Matryoshka
sparse autoencoders" (2025), for groups; Nabeshima, "Matryoshka sparse autoencoders" (2024), for
sampled prefixes, with γ = 1/2 in the code published with it.
Ours differs: `all` (they sample, or use few groups); sampled lengths are independent draws, so
that `all` is their exact mean (there: distinct lengths); sparsity by one selection over the batch,
in all three (sampled there: L1 or log penalties); latents keep their places (there: sorted by
contribution while training); threshold and inference as in BatchTopK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from sae_kernels import CodeSort, RaggedCode, ragged_decode, ragged_nested_decode_loss

from sae_core.batch_selection import BatchSelectionConfig, BatchSelectionSae
from sae_core.draws import generator, sent
from sae_core.loss_terms import LossTerms
from sae_core.plain import PlainSae
from sae_core.prefixes import (
    power_cumulative,
    power_lengths,
    prefix_weights,
    weights_on_lengths,
)
from sae_core.reconstruction import minimised_mean
from sae_core.training_context import TrainingContext

_SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 17 / 32)


class MatryoshkaConfig(BatchSelectionConfig):
    """Matryoshka's configuration."""

    refused: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"block_size": "blocks of 1 are prefixes 'all', larger ones prefixes 'groups'"}
    )
    architecture: Literal["matryoshka"] = Field("matryoshka", description="Matryoshka.")
    n_latents: int = Field(ge=2, description="Number of latents f.")
    prefixes: Literal["groups", "sampled", "all"] = Field(
        "groups",
        description="Which prefixes reconstruct: the ends of fixed groups, about ten drawn each "
        "step, or all of them exactly.",
    )
    group_shares: tuple[float, ...] | None = Field(
        None,
        min_length=1,
        description="Sizes of the groups as shares of f, first to last, summing to 1; none: 1/32, "
        "1/16, 1/8, 1/4 and the rest.",
    )
    group_sizes: tuple[int, ...] | None = Field(
        None, min_length=1, description="Sizes of the groups in latents, in place of shares."
    )
    n_prefixes: int = Field(
        10, ge=1, description="Prefixes per step when sampled, f among them; in `all` f weighs 1/n."
    )
    length_power: float = Field(
        0.5, ge=0, description="γ: a length's probability falls as length^−γ; 0: all are alike."
    )
    combine: Literal["mean", "sum"] = Field(
        "mean", description="Mean or sum of the prefixes' losses; all of them: mean."
    )

    @property
    def idle_settings(self) -> Mapping[str, str]:
        """Beside fixed groups, what lengths are drawn by."""
        drawn = dict.fromkeys(("n_prefixes", "length_power"), "prefixes is 'groups'")
        return {**super().idle_settings, **(drawn if self.prefixes == "groups" else {})}

    @property
    def group_ends(self) -> tuple[int, ...]:
        """The prefix lengths at which the groups end; the last is f."""
        if self.group_sizes is not None:
            return tuple(accumulate(self.group_sizes))
        shares = self.group_shares or _SHARES
        return tuple(round(end * self.n_latents) for end in accumulate(shares))

    @model_validator(mode="after")
    def _prefixes_fit(self) -> MatryoshkaConfig:
        given = [f for f in ("group_sizes", "group_shares") if getattr(self, f) is not None]
        if len(given) == 2:
            raise ValueError(
                "group_sizes and group_shares are both given. Allowed: one of them. Remove one."
            )
        if given and self.prefixes != "groups":
            raise ValueError(
                f"{given[0]} is given and prefixes is {self.prefixes!r}. Allowed: {given[0]} with "
                "prefixes 'groups' alone. Remove one."
            )
        if self.prefixes == "all" and self.combine == "sum":
            raise ValueError(
                f"combine 'sum' over all {self.n_latents} prefixes. Allowed with prefixes 'all': "
                "'mean'. Leave combine out."
            )
        if self.prefixes == "groups":
            self._check_groups()
        return self

    def _check_groups(self) -> None:
        given, ends = self.group_sizes or self.group_shares or _SHARES, self.group_ends
        if ends[-1] != self.n_latents or any(
            a >= b for a, b in zip((0, *ends), ends, strict=False)
        ):
            raise ValueError(
                f"groups of {given} end at {ends} of {self.n_latents} latents. Allowed: groups of "
                f"at least one latent each that end at {self.n_latents}. Sizes sum to n_latents, "
                "shares to 1."
            )


class MatryoshkaSae(BatchSelectionSae):
    """Matryoshka with AuxK and a calibrated inference threshold."""

    config: MatryoshkaConfig

    def plain(self) -> PlainSae | None:
        """The same as plain data, with the groups' sizes where prefixes are groups."""
        made = super().plain()
        if made is None or self.config.prefixes != "groups":
            return made
        ends = self.config.group_ends
        sizes = [end - start for start, end in zip((0, *ends), ends, strict=False)]
        return replace(made, groups=tuple(sizes))

    def reconstruction_of(
        self, scaled: torch.Tensor, code: RaggedCode, context: TrainingContext, *, sort: CodeSort
    ) -> tuple[LossTerms, torch.Tensor]:
        """The prefixes' squared errors, weighed."""
        weights = prefix_weights(code, sent(self._cumulative(context), scaled.device))
        nested = ragged_nested_decode_loss(scaled, code, self.W_dec, self.b_dec, *weights)
        with torch.no_grad():
            error = scaled - ragged_decode(code, self.W_dec, self.b_dec)
        terms = {
            "reconstruction": error.square().sum() / len(scaled),
            "prefixes": nested.detach().mean(),
        }
        total = minimised_mean(nested, scaled, self.config.loss_scale, context)
        return LossTerms(total, terms), error

    def _cumulative(self, context: TrainingContext) -> torch.Tensor:
        """The step's cumulative weight of prefix lengths (f + 1,), keyed by seed and step."""
        config, f = self.config, self.n_latents
        if config.prefixes == "all":
            shorter = power_cumulative(f, config.length_power) * (1 - 1 / config.n_prefixes)
            shorter[-1] = 1.0
            return shorter
        lengths = list(config.group_ends)
        if config.prefixes == "sampled":
            draws = generator(context.seed, "prefixes", step=context.step)
            drawn = power_lengths(config.n_prefixes - 1, f, config.length_power, draws=draws)
            lengths = [*drawn.tolist(), f]
        cumulative = weights_on_lengths(lengths, f)
        return cumulative / len(lengths) if config.combine == "mean" else cumulative


CONFIG = MatryoshkaConfig
SAE = MatryoshkaSae

"""The SAE of a format's kind that comes nearest to one that the format cannot hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import linear

from sae_core.plain import GroupMax, PlainSae, Rule, Threshold, TopK
from sae_core.sae import Sae
from sae_core.threshold import solve_threshold


@dataclass(frozen=True)
class Nearness:
    """How far a near SAE is from the true one on the same `n_tokens` held-out tokens.

    FVU of both and their difference; `code_disagreement`, the share of (token, latent) pairs
    active in one of the two that are not active in both; L0 of both; `what` was changed.
    """

    what: str
    n_tokens: int
    fvu: float
    fvu_near: float
    code_disagreement: float
    l0: float
    l0_near: float

    @property
    def fvu_difference(self) -> float:
        """FVU of the near one less that of the true one."""
        return self.fvu_near - self.fvu

    @property
    def sentence(self) -> str:
        """The same as a person reads it."""
        return (
            f"{self.what}: on {self.n_tokens:,} held-out tokens FVU {self.fvu_near:.4g} where the "
            f"SAE has {self.fvu:.4g} (difference {self.fvu_difference:+.4g}), {self.l0_near:.1f} "
            f"active latents per token where it has {self.l0:.1f}; "
            f"{self.code_disagreement:.2%} of active latents are active in one of the two alone"
        )


@torch.no_grad()
def nearest(
    sae: Sae, rules: tuple[type[Rule], ...], x: torch.Tensor, y: torch.Tensor
) -> tuple[PlainSae, Nearness] | None:
    """The plain SAE with one of the rules that reconstructs y (n, d') from x (n, d) best.

    Thresholds and k are set so that as many latents are active on x; one number for all latents
    makes up for a router's gates. None where nothing comes near.
    """
    code = sae.encode(x)
    dense, made = code.dense(), sae.reconstruct(x, code)
    plain = sae.plain() or _ungated(sae.near_plain(), dense, x)
    if plain is None:
        return None
    found = [
        (near, _nearness(what, (dense, made), near, x, y))
        for near, what in _candidates(plain, rules, dense, x)
    ]
    return min(found, key=lambda one: one[1].fvu_near) if found else None


def _candidates(
    plain: PlainSae, rules: tuple[type[Rule], ...], dense: torch.Tensor, x: torch.Tensor
) -> Iterator[tuple[PlainSae, str]]:
    if type(plain.rule) in rules:
        yield plain, f"the {_said(plain.rule)} of all, without router"
        return
    active = max(1, round(float((dense > 0).sum(1).float().mean())))
    if TopK in rules:
        k = plain.rule.k if isinstance(plain.rule, GroupMax) else active
        rule = TopK(min(k, plain.n_latents))
        yield replace(plain, rule=rule), f"the {_said(rule)} in the place of {_said(plain.rule)}"
    if Threshold in rules:
        seen = x - plain.b_dec if plain.centred else x
        theta = solve_threshold(lambda rows: linear(rows, plain.W_enc, plain.b_enc), [seen], active)
        near = replace(plain, rule=Threshold(theta.expand(plain.n_latents).clone(), active))
        yield near, f"one threshold, {float(theta):.4g}, in the place of {_said(plain.rule)}"


def _ungated(plain: PlainSae | None, dense: torch.Tensor, x: torch.Tensor) -> PlainSae | None:
    """The same with activations as large on average as those of the dense code (n, f)."""
    if plain is None:
        return None
    gate = dense.sum() / plain.encode(x).sum().clamp(min=1e-12)
    return replace(plain, W_enc=plain.W_enc * gate, b_enc=plain.b_enc * gate)


def _nearness(
    what: str,
    true: tuple[torch.Tensor, torch.Tensor],
    near: PlainSae,
    x: torch.Tensor,
    y: torch.Tensor,
) -> Nearness:
    dense, made = true
    code = near.encode(x)
    ours, theirs = dense > 0, code > 0
    either = (ours | theirs).sum().clamp(min=1)
    return Nearness(
        what,
        len(x),
        fvu=_fvu(y, made),
        fvu_near=_fvu(y, near.reconstruct(x, code)),
        code_disagreement=float((ours ^ theirs).sum() / either),
        l0=float(ours.sum(1).float().mean()),
        l0_near=float(theirs.sum(1).float().mean()),
    )


def _fvu(y: torch.Tensor, made: torch.Tensor) -> float:
    y, made = y.double(), made.double()
    return float((y - made).square().sum() / (y - y.mean(0)).square().sum())


def _said(rule: Rule) -> str:
    if isinstance(rule, TopK):
        return f"{rule.k} largest latents"
    return f"{rule.k} largest, one of each group" if isinstance(rule, GroupMax) else "thresholds"

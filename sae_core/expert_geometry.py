"""What experts learn: duplicates, routers and representations, as pure functions of weights.

Experts are equal blocks of a dictionary's rows, the first rows the first expert.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sae_kernels import max_cosine
from torch.nn.functional import normalize


def duplicates_across_experts(dictionary: torch.Tensor, n_experts: int) -> torch.Tensor:
    """Each latent's largest cosine with a latent of another expert, (f,).

    `dictionary` (f, d), f a multiple of `n_experts` >= 2. Values near 1: experts learned the same
    direction each for itself. Compare with `max_cosine` between seeds: what two dictionaries of
    that size share anyway. Raises ValueError when the experts do not fit.
    Reference: Mudide et al., "Efficient dictionary learning with switch sparse autoencoders"
    (2024).
    """
    blocks = _blocks(dictionary, n_experts)
    return torch.cat(
        [
            max_cosine(block, torch.cat([*blocks[:e], *blocks[e + 1 :]])).value_ab
            for e, block in enumerate(blocks)
        ]
    )


def router_against_experts(router: torch.Tensor, encoder: torch.Tensor) -> torch.Tensor:
    """Cosine of each router row (E, d) with the mean unit encoder row of each expert, (E, E).

    `encoder` (f, d), the encoder rows of the experts that are routed to. A router that asks "would
    this expert's latents fire?" has a large diagonal. A mean or row of norm 0 has cosine 0.
    Raises ValueError when the experts do not fit.
    """
    means = torch.stack([normalize(block).mean(0) for block in _blocks(encoder, len(router))])
    return normalize(router) @ normalize(means).T


@dataclass(frozen=True)
class RouterGeometry:
    """Where a router's rows point.

    `own_cosine`, `other_cosine`: means over the diagonal and the rest of `router_against_experts`.
    `in_down_projection`, `chance`: as `router_in_down_projection`, None for more experts than the
    dense encoder has dimensions.
    """

    own_cosine: float
    other_cosine: float
    in_down_projection: float | None
    chance: float | None


def router_geometry(
    router: torch.Tensor, encoder: torch.Tensor, dense_encoder: torch.Tensor
) -> RouterGeometry:
    """The router's rows (E, d) beside the encoder rows (f, d) of the E experts it chooses from, in
    their order, and beside a dense SAE's (g, d); raises ValueError when the shapes do not fit."""
    cosines = router_against_experts(router, encoder)
    n_experts = len(cosines)
    own = cosines.diagonal().sum()
    share, chance = (
        router_in_down_projection(router, dense_encoder)
        if n_experts <= min(dense_encoder.shape)
        else (None, None)
    )
    n_other = n_experts * (n_experts - 1)
    return RouterGeometry(
        float(own) / n_experts, float(cosines.sum() - own) / n_other, share, chance
    )


def router_in_down_projection(router: torch.Tensor, encoder: torch.Tensor) -> tuple[float, float]:
    """The share of the router's squared norm in a dense encoder's best projection to E, and chance.

    `router` (E, d); `encoder` (f, d) of a dense SAE, f, d >= E. The projection is that on the E
    right singular vectors of largest singular value: of all maps from d to E dimensions it keeps
    most of the encoder's rows. A random router has a share of E / d on average, the second number.
    Raises ValueError when widths differ or E is larger than the encoder's rank can be.
    """
    n_experts, width = router.shape
    if encoder.ndim != 2 or encoder.shape[1] != width or n_experts > min(encoder.shape):
        raise ValueError(
            f"the router is {tuple(router.shape)}, the encoder {tuple(encoder.shape)}. Allowed: "
            "(E, d) and (f, d) with E <= f and E <= d. Compare SAEs of one source."
        )
    # Eigenvectors of a (d, d) product: an SVD of all f rows would take far longer at large f.
    rows, router = encoder.double(), router.double()
    directions = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -n_experts:]
    kept = (router @ directions).square().sum() / router.square().sum()
    return float(kept), n_experts / width


def linear_cka(a: torch.Tensor, b: torch.Tensor) -> float:
    """Similarity in [0, 1] of two representations (n, p) and (n, q) of the same n tokens.

    ‖AᵀB‖² / (‖AᵀA‖ ‖BᵀB‖) in Frobenius norms, columns centred: 1 where one is the other rotated
    and scaled. Codes or reconstructions of two SAEs, for example. Small n makes any two alike.
    Raises ValueError when the numbers of tokens differ or a representation does not vary.
    Reference: Kornblith et al., "Similarity of neural network representations revisited" (2019).
    """
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b):
        raise ValueError(
            f"linear_cka got {tuple(a.shape)} and {tuple(b.shape)}. Allowed: (n, p) and (n, q). "
            "Represent the same tokens."
        )
    a, b = (part.double() - part.double().mean(0) for part in (a, b))
    size = _product_norm(a, a) * _product_norm(b, b)
    if not size > 0:
        raise ValueError(
            "linear_cka got a representation that is the same on every token. Allowed: ones that "
            "vary. Take more tokens."
        )
    return float(_product_norm(a, b).square() / size)


def _product_norm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """‖AᵀB‖ in the Frobenius norm, by p × q or n × n products, whichever is smaller."""
    if a.shape[1] * b.shape[1] <= len(a) ** 2:
        return torch.linalg.matrix_norm(a.T @ b)
    # tr(AAᵀ BBᵀ) = ‖AᵀB‖²; rounding may leave a 0 below 0.
    return ((a @ a.T) * (b @ b.T)).sum().clamp(min=0).sqrt()


def _blocks(rows: torch.Tensor, n_experts: int) -> tuple[torch.Tensor, ...]:
    if rows.ndim != 2 or n_experts < 2 or not len(rows) or len(rows) % n_experts:
        raise ValueError(
            f"{tuple(rows.shape)} rows among {n_experts} experts. Allowed: (f, d) with f a "
            "multiple of 2 or more experts. Leave out an always-on expert's rows from both."
        )
    return rows.chunk(n_experts)

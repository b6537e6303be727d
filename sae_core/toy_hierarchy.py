"""Activations of features that imply each other: where absorption can be told from the truth."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sae_core.draws import generator


class HierarchySample(NamedTuple):
    """Activations `x` (n, d), and how strongly each parent (n, p) and child (n, p c) is in them."""

    x: torch.Tensor
    parents: torch.Tensor
    children: torch.Tensor


class Hierarchy(NamedTuple):
    """p parents with c children each: a child is never active without its parent.

    x = Σ_i m_i p_i + Σ_j m_j c_j over orthonormal directions; a parent is active with probability
    `density`, independently; an active parent has one active child with probability `with_child`,
    each child alike; every m is uniform in [1, 2]. Children of parent i are i c, ..., i c + c − 1.
    All draws depend on `seed` and, for samples, the step. Needs p + p c <= d.
    Reference: Chanin et al., "A is for absorption" (2024), arXiv 2409.14507, whose toy has one
    parent and one child.
    """

    n_parents: int = 8
    n_children: int = 3
    width: int = 48
    density: float = 0.15
    with_child: float = 0.5
    seed: int = 0

    def directions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Orthonormal directions of parents (p, d) and children (p c, d).

        Raises ValueError where the width has no room for them.
        """
        n = self.n_parents * (1 + self.n_children)
        if n > self.width:
            raise ValueError(
                f"{n} features do not fit into {self.width} orthogonal directions. Allowed: "
                f"width >= {n}. Widen it, or take fewer parents or children."
            )
        draws = generator(self.seed, "hierarchy directions")
        rows = torch.linalg.qr(torch.randn(self.width, n, generator=draws)).Q.T.contiguous()
        return rows[: self.n_parents], rows[self.n_parents :]

    def sample(self, n: int, *, step: int) -> HierarchySample:
        """Batch number `step` of n activations with the truth about them."""
        draws = generator(self.seed, "hierarchy sample", step=step)
        shape = (n, self.n_parents)
        active = torch.rand(shape, generator=draws) < self.density
        has_child = active & (torch.rand(shape, generator=draws) < self.with_child)
        which = torch.randint(self.n_children, shape, generator=draws)
        chosen = which.unsqueeze(2) == torch.arange(self.n_children)
        born = (has_child.unsqueeze(2) & chosen).flatten(1)
        parents = active * (1 + torch.rand(shape, generator=draws))
        children = born * (1 + torch.rand(born.shape, generator=draws))
        of_parents, of_children = self.directions()
        return HierarchySample(parents @ of_parents + children @ of_children, parents, children)

"""Absorption, where the truth is known: a child's latent takes over its parent's direction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from sae_core.code import SparseCode

SHARE = 0.5


@dataclass(frozen=True)
class Absorption:
    """Per parent (p,) the latent that stands for it and its cosine; per child (m,) counts.

    `n_child`: tokens with the child, and so with its parent, on which the parent's latent is not
    the one that stands for the child; `silent`: those on which the parent's latent is silent;
    `absorbed`: of these, those on which the child's latent supplies the parent's direction.
    `alone`, `alone_silent` (p,): tokens with a parent and none of its children, and those on which
    its latent is silent: what the parent's latent misses where nothing can absorb it.
    """

    parent_latent: torch.Tensor
    parent_cosine: torch.Tensor
    child_latent: torch.Tensor
    n_child: torch.Tensor
    silent: torch.Tensor
    absorbed: torch.Tensor
    alone: torch.Tensor
    alone_silent: torch.Tensor

    @property
    def rate(self) -> float:
        """Share of tokens with a child on which it is absorbed."""
        return float(self.absorbed.sum() / self.n_child.sum())

    @property
    def missed_alone(self) -> float:
        """Share of tokens with a parent alone on which its latent is silent."""
        return float(self.alone_silent.sum() / self.alone.sum())


def absorption(
    code: SparseCode,
    dictionary: torch.Tensor,
    parents: torch.Tensor,
    children: torch.Tensor,
    parent_active: torch.Tensor,
    child_active: torch.Tensor,
) -> Absorption:
    """How far children take over their parents in a code of n tokens.

    `dictionary` (f, d) decoder rows; `parents` (p, d), `children` (m, d) true orthonormal
    directions, m / p children per parent in order; `parent_active` (n, p), `child_active` (n, m)
    the truth. A parent's latent has the largest cosine with its direction, a child's latent the
    largest with its own. A child is absorbed on a token where the parent's latent is silent and
    a_c (d_c · parent) is at least half of x̂ · parent, both above 0.
    Reference: Chanin et al., "A is for absorption" (2024), arXiv 2409.14507, whose measure finds
    parents by probes and takes 40 % of the projection; here both are known.
    """
    unit, per_parent = normalize(dictionary), children.shape[0] // parents.shape[0]
    cosine, parent_latent = (unit @ parents.T).max(0)
    child_latent = (unit @ children.T).argmax(0)
    dense = code.dense()
    owner = torch.arange(children.shape[0], device=dictionary.device) // per_parent
    read = dictionary @ parents.T
    supplied = dense[:, child_latent] * read[child_latent, owner]
    whole = (dense @ read)[:, owner]
    parent_fires = dense[:, parent_latent] > 0
    apart = child_active & (child_latent != parent_latent[owner])
    silent = apart & ~parent_fires[:, owner]
    absorbed = silent & (supplied > 0) & (supplied >= SHARE * whole)
    has_child = child_active.view(len(child_active), -1, per_parent).any(2)
    alone = parent_active & ~has_child
    return Absorption(
        parent_latent=parent_latent,
        parent_cosine=cosine,
        child_latent=child_latent,
        n_child=apart.sum(0),
        silent=silent.sum(0),
        absorbed=absorbed.sum(0),
        alone=alone.sum(0),
        alone_silent=(alone & ~parent_fires).sum(0),
    )

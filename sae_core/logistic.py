"""Logistic regression on a few columns: many small problems at once, by Newton's method."""

from __future__ import annotations

import torch

STEPS = 30
_HALVINGS = 6


def logistic_weights(columns: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Weights (p, c) and intercepts as (p, c + 1) float64 of p regressions, the intercept last.

    `columns` (p, n, c), `targets` (p, n) bool. Minimised is Σ_i v_i ln(1 + exp(−t_i s_i)) + ½‖w‖²
    with s = columns·w + b, t = ±1, and weights v that give both classes the same total, n in all:
    the penalty keeps weights finite where a column separates the classes, and fades with n. Columns
    should be of unit size. Each step takes the best of Newton's step and its halves, so the loss
    never rises; 30 steps. A problem of one class alone gets zeros.
    Reference: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), 4.4.1.
    """
    x = torch.cat([columns.double(), torch.ones_like(columns[..., :1], dtype=torch.float64)], 2)
    y = targets.double()
    weight = balanced(y)
    penalty = torch.ones(x.shape[2], dtype=torch.float64)
    penalty[-1] = 0.0
    beta = x.new_zeros(x.shape[0], x.shape[2])
    sign = 2.0 * y - 1.0
    halves = 0.5 ** torch.arange(_HALVINGS + 1, dtype=torch.float64)

    def loss(candidates: torch.Tensor) -> torch.Tensor:
        """(p, h, c + 1) -> (p, h)."""
        margins = sign.unsqueeze(1) * (candidates @ x.mT)
        terms = weight.unsqueeze(1) * torch.nn.functional.softplus(-margins)
        return terms.sum(2) + 0.5 * (penalty * candidates.square()).sum(2)

    for _ in range(STEPS):
        share = torch.sigmoid((x @ beta.unsqueeze(2)).squeeze(2))
        gradient = ((weight * (share - y)).unsqueeze(1) @ x).squeeze(1) + penalty * beta
        curvature = (weight * share * (1 - share)).unsqueeze(2)
        hessian = x.mT @ (curvature * x) + torch.diag(penalty + 1e-9)
        step = torch.linalg.solve(hessian, gradient.unsqueeze(2)).squeeze(2)
        tried = beta.unsqueeze(1) - halves.view(1, -1, 1) * step.unsqueeze(1)
        losses = loss(tried)
        best = losses.argmin(1)
        better = losses.gather(1, best.unsqueeze(1)) < loss(beta.unsqueeze(1))
        chosen = tried[torch.arange(len(tried)), best]
        beta = torch.where(better, chosen, beta)
        if not better.any():
            break
    return beta


def balanced(targets: torch.Tensor) -> torch.Tensor:
    """Weights (p, n) that give both classes of targets (p, n) in {0, 1} half of n; 0 for one."""
    n = targets.shape[1]
    positives = targets.sum(1, keepdim=True)
    share = torch.where(targets > 0, positives, n - positives)
    both = (positives > 0) & (positives < n)
    return both.double() * n / (2.0 * share.clamp_min(1.0))

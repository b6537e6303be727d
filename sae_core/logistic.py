"""Logistic regression on a few columns: many small problems at once, by Newton's method."""

from __future__ import annotations

import torch

STEPS, HALVINGS = 30, 10
TOLERANCE = 1e-10
_LEAST = 1e-9  # keeps the intercept's curvature from vanishing


def logistic_weights(columns: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Weights (p, c) and intercepts as (p, c + 1) float64 of p regressions, the intercept last.

    `columns` (p, n, c), `targets` (p, n) bool. Minimised is Σ_i v_i ln(1 + exp(−t_i s_i)) + ½‖w‖²
    with s = columns·w + b, t = ±1, and weights v that give both classes the same total, n in all:
    the penalty keeps weights finite where a column separates the classes, and fades with n. Columns
    should be of unit size. A Newton step is halved until the loss does not rise; the search ends
    where no loss falls by more than 1e-10 of itself, or after 30 steps. A problem of one class
    alone gets zeros.
    Reference: Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), 4.4.1.
    """
    x = torch.cat([columns.double(), torch.ones_like(columns[..., :1], dtype=torch.float64)], 2)
    y = targets.double()
    weight, sign = balanced(y), 2.0 * y - 1.0
    penalty = torch.ones(x.shape[2], dtype=torch.float64)
    penalty[-1] = 0.0

    def loss(beta: torch.Tensor) -> torch.Tensor:
        margins = sign * (x @ beta.unsqueeze(2)).squeeze(2)
        terms = weight * torch.nn.functional.softplus(-margins)
        return terms.sum(1) + 0.5 * (penalty * beta.square()).sum(1)

    beta = x.new_zeros(x.shape[0], x.shape[2])
    now = loss(beta)
    for _ in range(STEPS):
        share = torch.sigmoid((x @ beta.unsqueeze(2)).squeeze(2))
        gradient = ((weight * (share - y)).unsqueeze(1) @ x).squeeze(1) + penalty * beta
        curvature = (weight * share * (1 - share)).unsqueeze(2)
        hessian = x.mT @ (curvature * x) + torch.diag(penalty + _LEAST)
        step = torch.linalg.solve(hessian, gradient.unsqueeze(2)).squeeze(2)
        tried = beta - step
        after = loss(tried)
        for _ in range(HALVINGS):
            worse = ~(after <= now)
            if not worse.any():
                break
            step = torch.where(worse.unsqueeze(1), 0.5 * step, step)
            tried = beta - step
            after = loss(tried)
        better = after < now
        beta = torch.where(better.unsqueeze(1), tried, beta)
        gain = torch.where(better, now - after, torch.zeros_like(now))
        now = torch.where(better, after, now)
        if bool((gain <= TOLERANCE * now).all()):
            break
    return beta


def balanced(targets: torch.Tensor) -> torch.Tensor:
    """Weights (p, n) that give both classes of targets (p, n) in {0, 1} half of n; 0 for one."""
    n = targets.shape[1]
    positives = targets.sum(1, keepdim=True)
    share = torch.where(targets > 0, positives, n - positives)
    both = (positives > 0) & (positives < n)
    return both.double() * n / (2.0 * share.clamp_min(1.0))

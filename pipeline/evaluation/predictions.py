"""What a forward pass predicts: next-token losses, and how two predictions differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True)
class Predictions:
    """Of b rows of t tokens: `logits` (b, t − 1, v), their log-sum-exp and losses (b, t − 1).

    `loss` is −log p(next token) in nats, float64; position i predicts token i + 1.
    """

    logits: torch.Tensor
    log_sum: torch.Tensor
    loss: torch.Tensor

    @cached_property
    def top(self) -> torch.Tensor:
        """The most likely token of each prediction, (b, t − 1), on the CPU."""
        return self.logits.argmax(2).cpu()


def predictions(logits: torch.Tensor, tokens: torch.Tensor) -> Predictions:
    """Predictions of logits (b, t, v) for tokens (b, t); works row by row in float32."""
    logits = logits[:, :-1]
    log_sum = torch.stack([row.float().logsumexp(1) for row in logits])
    chosen = logits.gather(2, tokens[:, 1:, None]).squeeze(2).float()
    return Predictions(logits, log_sum, (log_sum - chosen).to("cpu", torch.float64))


def kl(clean: Predictions, other: Predictions) -> torch.Tensor:
    """KL(clean ‖ other) per prediction in nats, (b, t − 1) float64, on the CPU."""
    rows = []
    for i, (p_logits, q_logits) in enumerate(zip(clean.logits, other.logits, strict=True)):
        share = (p_logits.float() - clean.log_sum[i, :, None]).exp_()
        # The difference first: where both agree, nothing is left to cancel.
        apart = p_logits.float() - q_logits.float()
        difference = torch.einsum("nv,nv->n", share, apart)
        rows.append(difference - clean.log_sum[i] + other.log_sum[i])
    return torch.stack(rows).to("cpu", torch.float64).clamp_min_(0.0)

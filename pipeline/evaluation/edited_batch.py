"""A batch of held-out rows with a site's activations: what may be edited, and what edits cost.

Which tokens count, for every number alike: a token is *edited* where it is not special and its
activation would not be masked in training (finite, norm within the store's bound). Every edit (an
SAE's reconstruction, zero, the mean) changes edited tokens only, and reconstruction is measured
on them. Losses are means over all scored predictions (see `splice.scored`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pipeline.evaluation.forwards import Forwards
from pipeline.evaluation.held_out import HeldOut, TokenRows
from pipeline.evaluation.predictions import Predictions, predictions
from pipeline.language_model.splice import scored
from pipeline.study.names import Site


@dataclass(frozen=True)
class Place:
    """Where SAEs are spliced in: the site, the mean (d,) float64 and the largest norm there.

    `unigram` (v,) float64: the loss of each token by the training text's frequencies. `drawn`
    gives activations (b, t, d) of packed rows where they are drawn, not the model's: such a place
    has no losses.
    """

    site: Site
    mean: torch.Tensor
    max_norm: float | None
    unigram: torch.Tensor
    drawn: Callable[[Sequence[int]], torch.Tensor] | None = None


@dataclass(frozen=True)
class EditedBatch:
    """A batch that `forwards` has begun: `x` (b, t, d), where it is `edited` (b, t).

    `clean`: the untouched model's predictions, None where no losses are wanted. `keep` (b, t − 1):
    scored predictions. `documents` (m,) of the edited tokens, `predicted` of the scored ones.
    """

    forwards: Forwards
    batch: TokenRows
    tokens: torch.Tensor
    x: torch.Tensor
    edited: torch.Tensor
    clean: Predictions | None
    keep: torch.Tensor
    documents: torch.Tensor
    predicted: torch.Tensor

    @property
    def rows(self) -> torch.Tensor:
        """The edited tokens' activations (m, d) in float32."""
        return self.x[self.edited].float()

    def losses(self, x_hat: torch.Tensor) -> Predictions:
        """Predictions with x_hat (m, d) in place of the edited tokens' activations."""
        whole = self.x.clone()
        whole[self.edited] = x_hat.to(whole.dtype)
        return predictions(self.forwards.spliced(self.tokens, whole, ~self.edited), self.tokens)

    def losses_everywhere(self, x_hat: torch.Tensor) -> torch.Tensor:
        """Losses (b, t − 1) with x_hat (b, t, d) in place of every token's activation."""
        logits = self.forwards.spliced(
            self.tokens, x_hat.to(self.x.dtype), torch.zeros_like(self.edited)
        )
        return predictions(logits, self.tokens).loss

    def ablated(self, value: torch.Tensor) -> torch.Tensor:
        """Losses (b, t − 1) with one value (d,) in place of every edited token's activation."""
        n = int(self.edited.sum())
        return self.losses(value.to(self.x.device, self.x.dtype).expand(n, -1)).loss


def edited_batch(
    forwards: Forwards, place: Place, batch: TokenRows, held_out: HeldOut, *, losses: bool
) -> EditedBatch:
    """Begins a batch: runs the model up to the site, or to its end where losses are wanted."""
    tokens = batch.tokens.to(forwards.lm.device)
    clean = None
    if place.drawn is not None:
        x = place.drawn(batch.packed_rows).to(tokens.device)
    elif losses:
        x, logits = forwards.clean(tokens)
        clean = predictions(logits, tokens)
    else:
        x = forwards.activations(tokens)
    edited = edited_tokens(x, batch.special.to(x.device), place.max_norm)
    keep = scored(batch.tokens, batch.documents, held_out.special_ids)
    documents, predicted = batch.documents[edited.cpu()], batch.documents[:, 1:][keep]
    return EditedBatch(forwards, batch, tokens, x, edited, clean, keep, documents, predicted)


def edited_tokens(x: torch.Tensor, special: torch.Tensor, max_norm: float | None) -> torch.Tensor:
    """Which tokens (b, t) of activations (b, t, d) every edit changes."""
    norms = torch.linalg.vector_norm(x.float(), dim=2)
    usable = torch.isfinite(norms) & ~special
    return usable if max_norm is None else usable & (norms <= max_norm)

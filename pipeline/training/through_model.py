"""A frozen language model as SAEs are trained through it: read a site, replace it, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from pipeline.language_model.model import LanguageModel
from pipeline.language_model.splice import scored, special_positions, spliced_at
from pipeline.study.names import Site
from sae_core.language_model import Downstream, Reading

TOKEN, DOCUMENT = 0, 1  # columns of a batch


@dataclass
class ThroughModel:
    """Batches (n, 2) of token and document ids, whole rows of `context` tokens one after another.

    Replaced are tokens that are not special and whose activations would not be masked in training.
    Scored are predictions inside one document, from and of tokens that are not special. The SAEs
    of a group share the untouched model's pass over a batch.
    """

    lm: LanguageModel
    site: Site
    later: Sequence[Site]
    context: int
    max_norm: float | None
    _batch: torch.Tensor | None = field(default=None, repr=False)
    _reading: Reading | None = field(default=None, repr=False)

    def read(self, batch: torch.Tensor) -> Reading:
        """The untouched model on a batch; the same batch again costs nothing."""
        if self._reading is None or batch is not self._batch:
            self._batch, self._reading = batch, self._read(batch)
        return self._reading

    def _read(self, batch: torch.Tensor) -> Reading:
        tokens, documents = (batch[:, i].view(-1, self.context) for i in (TOKEN, DOCUMENT))
        found: dict[Site, torch.Tensor] = {}
        looks = {site: _look(site, found) for site in (self.site, *self.later)}
        nowhere = torch.zeros_like(tokens, dtype=torch.bool)
        with torch.no_grad():
            logits = spliced_at(self.lm, tokens, looks, nowhere)
        x = found[self.site]
        norms = torch.linalg.vector_norm(x.float(), dim=2)
        replaced = norms.isfinite() & ~special_positions(tokens, self.lm.special_ids)
        if self.max_norm is not None:
            replaced &= norms <= self.max_norm
        counted = scored(tokens, documents, self.lm.special_ids)

        def splice(x_hat: torch.Tensor) -> Downstream:
            seen: dict[Site, torch.Tensor] = {}
            edits = {site: _look(site, seen) for site in self.later}
            put = {self.site: lambda _: x_hat.view_as(x)}
            spliced = spliced_at(self.lm, tokens, put | edits, ~replaced)
            kl = _mean_kl(logits, spliced, counted)
            return Downstream(kl, _mean_error(found, seen, replaced))

        rows = torch.where(replaced[..., None], x, 0.0).flatten(0, 1)
        return Reading(rows, replaced.flatten(), splice)


def _look(site: Site, found: dict[Site, torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def look(x: torch.Tensor) -> torch.Tensor:
        found[site] = x.clone()
        return x

    return look


def _mean_kl(clean: torch.Tensor, spliced: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean of KL(clean ‖ spliced) in nats over predictions `counted` (b, t − 1), of logits."""
    p = clean[:, :-1].float().log_softmax(2)
    q = spliced[:, :-1].float().log_softmax(2)
    kl = (p.exp() * (p - q)).sum(2)
    return (kl * counted).sum() / counted.sum().clamp(min=1)


def _mean_error(
    clean: dict[Site, torch.Tensor], spliced: dict[Site, torch.Tensor], replaced: torch.Tensor
) -> torch.Tensor:
    """Mean over sites of Σ ‖h − h'‖² / Σ ‖h − h̄‖² over the replaced tokens; 0 without sites."""
    on = replaced[..., None]
    n = replaced.sum().clamp(min=1)
    errors = [torch.zeros((), device=replaced.device)]
    for site, new in spliced.items():
        own, other = torch.where(on, clean[site].float(), 0.0), torch.where(on, new.float(), 0.0)
        spread = ((own - own.sum((0, 1)) / n) * on).square().sum()
        errors.append((own - other).square().sum() / spread / len(spliced))
    return torch.stack(errors).sum()

"""One sweep over held-out text that measures all missing SAEs of a source.

Which tokens count, for every number alike: a token is *edited* where it is not special and its
activation would not be masked in training (finite, norm within the store's bound). Every edit (an
SAE's reconstruction, zero, the mean) changes edited tokens only, and reconstruction is measured
on them. Losses are means over all scored predictions (see `splice.scored`). The clean, zero and
mean forwards are shared by all SAEs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pipeline.errors import UserError
from pipeline.evaluation.forwards import Forwards
from pipeline.evaluation.held_out import HeldOut, TokenRows
from pipeline.evaluation.predictions import Predictions, kl, predictions
from pipeline.evaluation.sums import Candidate, Sums
from pipeline.evaluation.tables import DocumentTables
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.splice import scored
from pipeline.progress import Progress, Report
from pipeline.study.names import Site
from sae_core.metrics.token_metric import Losses, Reconstruction

_LOGITS = 2**26  # numbers in one forward's logits: 256 MiB in float32


@dataclass(frozen=True)
class Place:
    """Where SAEs are spliced in: the site, the mean (d,) float64 and the largest norm there."""

    site: Site
    mean: torch.Tensor
    max_norm: float | None


def sweep(
    lm: LanguageModel,
    place: Place,
    candidates: Sequence[Candidate],
    held_out: HeldOut,
    *,
    batch_rows: int,
    report: Report,
) -> dict[str, DocumentTables]:
    """What each candidate's metrics are computed from, by its name.

    Raises UserError where no token can be edited.
    """
    sums = [Sums(candidate, len(held_out.documents)) for candidate in candidates]
    rows = rows_per_forward(batch_rows, held_out.tokens.shape[1], _vocabulary(lm))
    forwards, done = Forwards(lm, place.site), 0
    with torch.inference_mode():
        for batch in held_out.batches(rows):
            _measure(forwards, place, sums, batch, held_out)
            done += batch.tokens.numel()
            report(Progress("evaluation", done, held_out.tokens.size, "tokens", str(place.site)))
    if not sums[0].n_tokens:
        raise UserError(
            f"no held-out token of {place.site} can be measured: all are special, not finite or "
            "beyond the norm seen in training. Check the corpus and the model's activations."
        )
    return {s.candidate.name: s.result(held_out.documents) for s in sums}


def rows_per_forward(batch_rows: int, context: int, vocabulary: int) -> int:
    """How many rows go through the LM at once: fewer where logits would take much memory."""
    return max(1, min(batch_rows, _LOGITS // (context * vocabulary)))


def _vocabulary(lm: LanguageModel) -> int:
    return int(lm.model.get_input_embeddings().weight.shape[0])


def _measure(
    forwards: Forwards, place: Place, sums: Sequence[Sums], batch: TokenRows, held_out: HeldOut
) -> None:
    tokens = batch.tokens.to(forwards.lm.device)
    x, clean = _clean(forwards, tokens, losses=any(s.candidate.needs_losses for s in sums))
    edited = _edited(x, batch.special.to(x.device), place.max_norm)

    def forward(replacement: torch.Tensor) -> Predictions:
        return predictions(forwards.spliced(tokens, replacement, ~edited), tokens)

    keep = scored(batch.tokens, batch.documents, held_out.special_ids)
    predicted = batch.documents[:, 1:][keep]
    baselines = _baselines(x, place.mean, forward) if clean is not None else ()
    for one in sums:
        x_hat = _reconstruct(one, x, edited, place.mean, batch.documents)
        if clean is not None and one.candidate.needs_losses:
            spliced = forward(x_hat)
            parts = (clean.loss, spliced.loss, *baselines, kl(clean, spliced))
            one.add(Losses(*(part[keep] for part in parts)), predicted)


def _clean(
    forwards: Forwards, tokens: torch.Tensor, *, losses: bool
) -> tuple[torch.Tensor, Predictions | None]:
    """Activations (b, t, d) and, where losses are wanted, what the untouched model predicts."""
    if not losses:
        return forwards.activations(tokens), None
    x, logits = forwards.clean(tokens)
    return x, predictions(logits, tokens)


def _edited(x: torch.Tensor, special: torch.Tensor, max_norm: float | None) -> torch.Tensor:
    norms = torch.linalg.vector_norm(x.float(), dim=2)
    usable = torch.isfinite(norms) & ~special
    return usable if max_norm is None else usable & (norms <= max_norm)


def _baselines(
    x: torch.Tensor, mean: torch.Tensor, forward: Callable[[torch.Tensor], Predictions]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses (b, t − 1) under zero and under mean ablation."""
    zero = forward(torch.zeros_like(x)).loss
    return zero, forward(mean.to(x.device, x.dtype).expand_as(x)).loss


def _reconstruct(
    one: Sums, x: torch.Tensor, edited: torch.Tensor, mean: torch.Tensor, documents: torch.Tensor
) -> torch.Tensor:
    """The activations with reconstructions in place of the edited tokens; adds them up."""
    if not edited.any():
        return x
    sae = one.candidate.sae
    rows = x[edited].float()
    code = sae.encode(rows)
    x_hat = sae.decode(code)
    one.add_code(code)
    where = _exact(rows).device
    one.add(
        Reconstruction(
            x=_exact(rows),
            x_hat=_exact(x_hat),
            code=type(code)(code.indices.to(where), code.values.to(where), code.n_latents),
            decoder_norms=_exact(sae.W_dec).norm(dim=1),
            center=mean.to(where),
        ),
        documents[edited.cpu()],
    )
    whole = x.clone()
    whole[edited] = x_hat.to(x.dtype)
    return whole


def _exact(values: torch.Tensor) -> torch.Tensor:
    """In float64; Apple's GPUs do not know it, so there it is on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()

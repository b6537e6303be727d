"""One sweep over held-out text that measures all missing SAEs of a source.

Which tokens count is said in `edited_batch`. The clean, zero and mean forwards are shared by all
SAEs. Codes other than an SAE's own (a cut, a prefix) cost a forward each, so they are spliced in
afterwards on a stated part of the rows, spread evenly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.errors import UserError
from pipeline.evaluation.edited_batch import EditedBatch, Place, edited_batch
from pipeline.evaluation.every_prediction import add_every_prediction
from pipeline.evaluation.forwards import Forwards
from pipeline.evaluation.held_out import HeldOut
from pipeline.evaluation.predictions import kl
from pipeline.evaluation.sums import Candidate, Sums
from pipeline.evaluation.tables import DocumentTables
from pipeline.language_model.model import LanguageModel
from pipeline.progress import Progress, Report
from sae_core.code import SparseCode
from sae_core.metrics.tally_metric import Seen
from sae_core.metrics.token_metric import Losses, Reconstruction

__all__ = ["Place", "rows_per_forward", "sweep"]

_LOGITS = 2**26  # numbers in one forward's logits: 256 MiB in float32


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
    vocabulary = lm.vocabulary
    sums = [Sums(one, len(held_out.documents), vocabulary) for one in candidates]
    losses = any(one.needs_losses for one in candidates)
    rows = rows_per_forward(batch_rows, held_out.tokens.shape[1], vocabulary)
    forwards, done = Forwards(lm, place.site), 0
    with torch.inference_mode():
        for batch in held_out.batches(rows):
            begun = edited_batch(forwards, place, batch, held_out, losses=losses)
            _measure(begun, place, sums)
            done += batch.tokens.numel()
            report(Progress("evaluation", done, held_out.tokens.size, "tokens", str(place.site)))
        if not sums[0].n_tokens:
            raise UserError(
                f"no held-out token of {place.site} can be measured: all are special, not finite "
                "or beyond the norm seen in training. Check the corpus and the model's activations."
            )
        if place.drawn is None:
            _splice_other_codes(forwards, place, sums, held_out, rows=rows, report=report)
    return {s.candidate.name: s.result(held_out.documents) for s in sums}


def rows_per_forward(batch_rows: int, context: int, vocabulary: int) -> int:
    """How many rows go through the LM at once: fewer where logits would take much memory."""
    return max(1, min(batch_rows, _LOGITS // (context * vocabulary)))


def _measure(begun: EditedBatch, place: Place, sums: Sequence[Sums]) -> None:
    clean = begun.clean
    baselines = _baselines(begun, place) if clean is not None else {}
    for one in sums:
        x_hat = _reconstruct(one, begun, place.mean)
        if clean is not None and one.candidate.needs_losses:
            spliced = begun.losses(x_hat)
            parts = {
                **baselines,
                "clean": clean.loss,
                "spliced": spliced.loss,
                "kl": kl(clean, spliced),
                "same_top1": (clean.top == spliced.top).double(),
            }
            scored = {name: part[begun.keep] for name, part in parts.items()}
            one.add(Losses(**scored), begun.predicted)


def _baselines(begun: EditedBatch, place: Place) -> dict[str, torch.Tensor]:
    """Losses (b, t − 1) that are the same for every SAE."""
    return {
        "zero": begun.ablated(torch.zeros_like(place.mean)),
        "mean": begun.ablated(place.mean),
        "unigram": place.unigram[begun.batch.tokens[:, 1:]],
    }


def _reconstruct(one: Sums, begun: EditedBatch, mean: torch.Tensor) -> torch.Tensor:
    """Reconstructions (m, d) of the edited tokens; adds them up."""
    sae, rows = one.candidate.sae, begun.rows
    if not len(rows):
        return rows
    code = sae.encode(rows)
    x_hat = sae.reconstruct(rows, code)
    where = exact(rows).device
    reconstruction = Reconstruction(
        x=exact(rows),
        x_hat=exact(x_hat),
        code=type(code)(code.indices.to(where), code.values.to(where), code.n_latents),
        decoder_norms=exact(sae.W_dec).norm(dim=1),
        center=mean.to(where),
    )
    one.add(reconstruction, begun.documents)
    edited = begun.edited.cpu()
    tokens, places = begun.batch.tokens[edited], begun.batch.places[edited]
    one.add_seen(Seen(tokens, places, begun.documents, reconstruction))
    return x_hat


def _splice_other_codes(
    forwards: Forwards,
    place: Place,
    sums: Sequence[Sums],
    held_out: HeldOut,
    *,
    rows: int,
    report: Report,
) -> None:
    wanted = [
        one
        for one in sums
        if one.candidate.needs_every_prediction or any(True for _ in one.splicing())
    ]
    if not wanted:
        return
    part, done = held_out.thinned(wanted[0].candidate.curve_tokens), 0
    for batch in part.batches(rows):
        begun = edited_batch(forwards, place, batch, held_out, losses=True)
        zero = begun.ablated(torch.zeros_like(place.mean))
        for one in wanted:
            if begun.edited.any():
                code = one.candidate.sae.encode(begun.rows)
                _splice(one, begun, code, zero)
        add_every_prediction([s for s in wanted if s.candidate.needs_every_prediction], begun)
        done += batch.tokens.numel()
        report(Progress("curves", done, part.tokens.size, "tokens", str(place.site)))


def _splice(one: Sums, begun: EditedBatch, code: SparseCode, zero: torch.Tensor) -> None:
    keep, sae = begun.keep, one.candidate.sae
    assert begun.clean is not None
    for metric, tally in one.splicing():
        for name, other in tally.codes(code).items():
            spliced = begun.losses(sae.decode(other))
            losses = tuple(part[keep] for part in (begun.clean.loss, spliced.loss, zero))
            one.add_spliced(metric, name, losses, begun.predicted)


def exact(values: torch.Tensor) -> torch.Tensor:
    """In float64; Apple's GPUs do not know it, so there it is on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()

"""One sweep over held-out text that measures SAEs that read or write several sites.

As `sweep`, with these differences. A token is *edited* where its activations would not be masked
at any of the sites. What an SAE reconstructs (a transcoder's output, a crosscoder's sites side by
side) stands for x in every number. Every edit replaces the written sites all at once, by what the
SAE makes of the untouched activations at the sites it reads. With several written sites, each has
reconstruction numbers of its own too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.errors import UserError
from pipeline.evaluation.edited_batch import Place, edited_tokens
from pipeline.evaluation.forwards import Activations, SiteForwards
from pipeline.evaluation.held_out import HeldOut, TokenRows
from pipeline.evaluation.predictions import Predictions, kl, predictions
from pipeline.evaluation.sums import Candidate, Sums
from pipeline.evaluation.sweep import exact, rows_per_forward
from pipeline.evaluation.tables import DocumentTables
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.splice import scored
from pipeline.progress import Progress, Report
from pipeline.study.names import Site
from sae_core.metrics.tally_metric import Seen
from sae_core.metrics.token_metric import Losses, Reconstruction

PER_SITE = ("fvu", "mse", "cosine", "l2_ratio", "relative_reconstruction_bias")


def of_site(metric: str, site: Site | str) -> str:
    """The name of a metric's sums at one of several written sites."""
    return f"{metric}@{site}"


@dataclass(frozen=True)
class Places:
    """The sites of a training batch in its order; which of them are read, which are written."""

    all: tuple[Place, ...]
    reads: range
    writes: range

    @property
    def written(self) -> tuple[Place, ...]:
        """The places that are reconstructed and replaced."""
        return tuple(self.all[i] for i in self.writes)

    def side_by_side(self, found: Activations, which: range, edited: torch.Tensor) -> torch.Tensor:
        """Activations (m, Σ d) of the edited tokens (b, t) at some of the places."""
        return torch.cat([found[self.all[i].site][edited] for i in which], 1)


def sites_sweep(
    lm: LanguageModel,
    places: Places,
    candidates: Sequence[Candidate],
    held_out: HeldOut,
    *,
    batch_rows: int,
    report: Report,
) -> dict[str, DocumentTables]:
    """What each candidate's metrics are computed from, by its name.

    All candidates read and write the same sites. Raises UserError where no token can be edited.
    """
    sums = [Sums(one, len(held_out.documents), lm.vocabulary) for one in candidates]
    rows = rows_per_forward(batch_rows, held_out.tokens.shape[1], lm.vocabulary)
    sites = [place.site for place in places.all]
    forwards = SiteForwards(lm, sites, [place.site for place in places.written])
    listing, done = ", ".join(map(str, sites)), 0
    with torch.inference_mode():
        for batch in held_out.batches(rows):
            _measure(forwards, places, sums, batch, held_out)
            done += batch.tokens.numel()
            report(Progress("evaluation", done, held_out.tokens.size, "tokens", listing))
    if not sums[0].n_tokens:
        raise UserError(
            f"no held-out token of {listing} can be measured: all are special, not finite or "
            "beyond the norm seen in training. Check the corpus and the model's activations."
        )
    return {s.candidate.name: s.result(held_out.documents) for s in sums}


def _measure(
    forwards: SiteForwards,
    places: Places,
    sums: Sequence[Sums],
    batch: TokenRows,
    held_out: HeldOut,
) -> None:
    tokens = batch.tokens.to(forwards.lm.device)
    drawn = {p.site: p.drawn(batch.packed_rows) for p in places.all if p.drawn is not None}
    if drawn:
        found, clean = {site: x.to(tokens.device) for site, x in drawn.items()}, None
    else:
        found, clean = _clean(forwards, tokens, losses=any(s.candidate.needs_losses for s in sums))
    special = batch.special.to(tokens.device)
    usable = [edited_tokens(found[p.site], special, p.max_norm) for p in places.all]
    edited = torch.stack(usable).all(0)

    def forward(replacements: Activations) -> Predictions:
        return predictions(forwards.spliced(tokens, replacements, ~edited), tokens)

    keep = scored(batch.tokens, batch.documents, held_out.special_ids)
    predicted = batch.documents[:, 1:][keep]
    if clean is not None:
        shared = {
            "clean": clean.loss,
            "zero": forward({p.site: torch.zeros_like(found[p.site]) for p in places.written}).loss,
            "mean": forward({p.site: _mean(p, found[p.site]) for p in places.written}).loss,
            "unigram": places.written[0].unigram[batch.tokens[:, 1:]],
        }
    for one in sums:
        made = _reconstruct(one, places, found, edited, batch)
        if clean is not None and one.candidate.needs_losses:
            spliced = forward(made)
            own = {
                "spliced": spliced.loss,
                "kl": kl(clean, spliced),
                "same_top1": (clean.top == spliced.top).double(),
            }
            parts = {name: part[keep] for name, part in (shared | own).items()}
            one.add(Losses(**parts), predicted)


def _clean(
    forwards: SiteForwards, tokens: torch.Tensor, *, losses: bool
) -> tuple[Activations, Predictions | None]:
    if not losses:
        return forwards.activations(tokens), None
    found, logits = forwards.clean(tokens)
    return found, predictions(logits, tokens)


def _mean(place: Place, x: torch.Tensor) -> torch.Tensor:
    return place.mean.to(x.device, x.dtype).expand_as(x)


def _reconstruct(
    one: Sums, places: Places, found: Activations, edited: torch.Tensor, batch: TokenRows
) -> Activations:
    """The written sites with reconstructions in place of the edited tokens; adds them up."""
    written = {place.site: found[place.site] for place in places.written}
    if not edited.any():
        return written
    sae = one.candidate.sae
    read = places.side_by_side(found, places.reads, edited).float()
    target = places.side_by_side(found, places.writes, edited).float()
    code = sae.encode(read)
    x_hat = sae.reconstruct(read, code)
    exact_target = exact(target)
    where = exact_target.device
    whole = Reconstruction(
        x=exact_target,
        x_hat=exact(x_hat),
        code=type(code)(code.indices.to(where), code.values.to(where), code.n_latents),
        decoder_norms=exact(sae.W_dec).norm(dim=1),
        center=torch.cat([place.mean for place in places.written]).to(where),
    )
    here = edited.cpu()
    mine = batch.documents[here]
    one.add(whole, mine)
    one.add_seen(Seen(batch.tokens[here], batch.places[here], mine, whole))
    made = {}
    widths = [written[place.site].shape[2] for place in places.written]
    for place, part in zip(places.written, x_hat.split(widths, 1), strict=True):
        made[place.site] = written[place.site].clone()
        made[place.site][edited] = part.to(made[place.site].dtype)
    if len(widths) > 1:
        _add_each_site(one, places, whole, widths, mine)
    return made


def _add_each_site(
    one: Sums,
    places: Places,
    whole: Reconstruction,
    widths: Sequence[int],
    documents: torch.Tensor,
) -> None:
    columns = (tensor.split(list(widths), -1) for tensor in (whole.x, whole.x_hat, whole.center))
    for place, x, x_hat, center in zip(places.written, *columns, strict=True):
        part = Reconstruction(x, x_hat, whole.code, whole.decoder_norms, center)
        one.add_part(part, documents, {name: of_site(name, place.site) for name in PER_SITE})

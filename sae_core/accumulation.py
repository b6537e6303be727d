"""A batch's loss and gradients, at once or in parts whose gradients add up to the whole batch's.

In parts, only one part's activations exist at a time: peak memory is a part's and two sets of
gradients. Every term is a mean over tokens, so that the whole is the parts' mean weighted by their
tokens; what a loss must know of the whole batch (which latents are dead after it, how much its
residual varies: AuxK) is found by a first pass without gradients (`Survey`), only when latents can
be dead. Sums in another order: equal to the whole batch's within rounding (float32: 1e-5 of the
largest gradient). Losses that depend on the whole batch in other ways (a selection over all of its
entries) cannot be split: their configurations say so in `needs_whole_batch`, and are refused.

Ranks are parts that are worked on at the same time: each takes its rows, and the same weighted mean
is taken over them. What a loss must know of the whole batch it asks them for, without a first pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from sae_core.draws import sent
from sae_core.loss_terms import Activity, LossTerms
from sae_core.ranks import Ranks, Share, any_of, as_share, least, summed, summed_in_pieces
from sae_core.sae import Sae
from sae_core.training_context import Survey, TrainingContext

_NEVER = 2**62  # tokens


@dataclass(frozen=True)
class BatchGradients:
    """A batch's terms (detached), activity, and the gradients of the total by parameter.

    `token_losses` (n,) each token's ‖s x − s x̂‖², where the recipe resamples by them.
    """

    terms: LossTerms
    activity: Activity
    gradients: tuple[torch.Tensor, ...]
    token_losses: torch.Tensor | None


def batch_gradients(
    sae: Sae,
    x: torch.Tensor | Share,
    context: TrainingContext,
    parameters: Sequence[torch.Tensor],
) -> BatchGradients:
    """Loss and gradients of activations x (n, d), in parts of `micro_batch` tokens where set.

    With several ranks x is this one's share, and all get the whole batch's; `token_losses` are its
    own rows'.
    """
    own, n = as_share(x)
    ranks = context.ranks
    if ranks.size == 1:
        return _own_gradients(sae, own, context, parameters)
    place = n * ranks.index // ranks.size
    context = replace(context, batch=n, place=place)
    made = _own_gradients(sae, own, context, parameters)
    return _over_ranks(made, len(own) / n, ranks)


def _own_gradients(
    sae: Sae, x: torch.Tensor, context: TrainingContext, parameters: Sequence[torch.Tensor]
) -> BatchGradients:
    size, n = sae.config.micro_batch, context.batch or len(x)
    if size is None or (context.ranks.size == 1 and len(x) <= size):
        return _at_once(sae, x, context, parameters)
    context = replace(context, batch=n)
    if sae.config.looks_at_dead_latents and context.tokens_seen + n >= context.dead_window:
        context = replace(context, survey=_survey(sae, x, context))
    sums, losses = None, []
    for part in x.split(size):
        made = _at_once(sae, part, context, parameters)
        losses.append(made.token_losses)
        sums = _added(sums, made, len(part) / len(x))
        del made  # the part's gradients go before the next part's are made
    return replace(sums, token_losses=torch.cat(losses) if sae.config.resample_at else None)


def _over_ranks(own: BatchGradients, share: float, ranks: Ranks) -> BatchGradients:
    """The whole batch's, of which this rank made a share of the tokens."""
    kind = own.gradients[0].dtype
    names = [*own.terms.terms, *own.activity.notes]
    numbers = [own.terms.total, own.activity.l0]
    numbers += [*own.terms.terms.values(), *own.activity.notes.values()]
    parts = [*own.gradients, *(number.to(kind) for number in numbers)]
    whole = summed_in_pieces(parts, ranks, weight=share)
    gradients, whole = whole[: len(own.gradients)], whole[len(own.gradients) :]
    found = [tensor.to(was.dtype) for tensor, was in zip(whole, numbers, strict=True)]
    total, l0, *rest = found
    named = list(zip(names, rest, strict=True))
    n_terms = len(own.terms.terms)
    activity = Activity(
        any_of(own.activity.fired, ranks),
        l0,
        least(own.activity.smallest, ranks),
        dict(named[n_terms:]),
    )
    terms = LossTerms(total, dict(named[:n_terms]))
    return BatchGradients(terms, activity, tuple(gradients), own.token_losses)


def _at_once(
    sae: Sae, x: torch.Tensor, context: TrainingContext, parameters: Sequence[torch.Tensor]
) -> BatchGradients:
    terms, activity = sae.losses(x, context)
    gradients = sae.completed(torch.autograd.grad(terms.total, parameters))
    found = LossTerms(terms.total.detach(), {k: term.detach() for k, term in terms.terms.items()})
    losses = _token_losses(sae, terms) if sae.config.resample_at else None
    return BatchGradients(found, activity, gradients, losses)


def _added(sums: BatchGradients | None, part: BatchGradients, share: float) -> BatchGradients:
    """The sums after a part that holds this share of the batch's tokens."""
    terms = {name: term * share for name, term in part.terms.terms.items()}
    total, l0 = part.terms.total * share, part.activity.l0 * share
    notes = {name: note * share for name, note in part.activity.notes.items()}
    if sums is None:
        gradients = tuple(gradient * share for gradient in part.gradients)
        activity = part.activity._replace(l0=l0, notes=notes)
        return BatchGradients(LossTerms(total, terms), activity, gradients, None)
    for gathered, gradient in zip(sums.gradients, part.gradients, strict=True):
        gathered.add_(gradient, alpha=share)
    activity = Activity(
        sums.activity.fired | part.activity.fired,
        sums.activity.l0 + l0,
        torch.minimum(sums.activity.smallest, part.activity.smallest),
        {name: sums.activity.notes[name] + note for name, note in notes.items()},
    )
    terms = {name: sums.terms.terms[name] + term for name, term in terms.items()}
    return BatchGradients(
        LossTerms(sums.terms.total + total, terms), activity, sums.gradients, None
    )


def _token_losses(sae: Sae, terms: LossTerms) -> torch.Tensor:
    if terms.error is None:
        raise ValueError(
            f"resample_at is {list(sae.config.resample_at)}, but architecture "
            f"{sae.config.architecture!r} gives no error per token. Allowed: LossTerms with "
            "`error`. Give it there, or say in its configuration why `no_resampling` is possible."
        )
    return terms.error.square().sum(1)


@torch.no_grad()
def _survey(sae: Sae, x: torch.Tensor, context: TrainingContext) -> Survey:
    """Which latents a batch fires and how much its residual varies, in parts."""
    without_dead = replace(context, dead_window=_NEVER)
    fired = torch.zeros_like(sae.b_enc, dtype=torch.bool)
    means, sizes, spread = [], [], 0.0
    for part in x.split(sae.config.micro_batch):
        terms, activity = sae.losses(part, without_dead)
        fired |= activity.fired
        means.append(terms.error.mean(0))
        sizes.append(len(part))
        spread = spread + (terms.error - means[-1]).square().sum()
    weights = sent(torch.tensor(sizes, dtype=means[0].dtype), x.device)
    centres = torch.stack(means)
    n, ranks = context.batch, context.ranks
    mean = summed(weights @ centres, ranks) / n
    spread = summed(spread + weights @ (centres - mean).square().sum(1), ranks)
    return Survey(any_of(fired, ranks), spread, n)

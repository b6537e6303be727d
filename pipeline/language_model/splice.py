"""What the language model predicts, as it is and with a site's activations replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.language_model.capture import tapped
from pipeline.language_model.layout import Tap
from pipeline.language_model.model import LanguageModel
from pipeline.study.names import Site

Edit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Clean:
    """The untouched model's predictions.

    logits: (b, t, v). loss: (b, t - 1) in nats, loss[:, i] of predicting token i + 1.
    """

    logits: Tensor
    loss: Tensor


def scored(tokens: Tensor, documents: Tensor, special_ids: Iterable[int]) -> Tensor:
    """Which predictions count: (b, t - 1) bool.

    Position i counts where neither token i nor token i + 1 is special and both belong to the
    same document: the model is never judged on guessing a document's start, nor from a token
    that no edit may touch. tokens, documents: (b, t).
    """
    plain = ~special_positions(tokens, special_ids)
    return plain[:, :-1] & plain[:, 1:] & (documents[:, :-1] == documents[:, 1:])


def special_positions(tokens: Tensor, special_ids: Iterable[int]) -> Tensor:
    """Where special tokens are: (b, t) bool. Every edit leaves these positions untouched."""
    found = torch.zeros_like(tokens, dtype=torch.bool)
    # One by one: a list of ids sent to a device would wait for what it is doing.
    for one in special_ids:
        found |= tokens == one
    return found


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy of each next token in nats, float32: (b, t - 1).

    loss[:, i] = -log softmax(logits[:, i])[tokens[:, i + 1]]
    """
    predicted = logits[:, :-1].float()
    chosen = predicted.gather(-1, tokens[:, 1:, None].to(logits.device))[..., 0]
    return predicted.logsumexp(dim=-1) - chosen


def token_losses(lm: LanguageModel, tokens: Tensor) -> Clean:
    """Logits and per-token losses of the untouched model on tokens (b, t) int64."""
    with torch.inference_mode():
        logits = lm.model(input_ids=tokens.to(lm.device), use_cache=False).logits
        return Clean(logits, next_token_loss(logits, tokens))


def spliced_losses(
    lm: LanguageModel, tokens: Tensor, site: Site, edit: Edit, keep: Tensor
) -> Tensor:
    """Logits (b, t, v) of the model with a site's activations replaced by what `edit` gives.

    edit: (b, t, d) in the site's own units to the same shape. keep: (b, t) bool, positions that
    stay as they were. Losses are `next_token_loss(logits, tokens)`.

    Raises SiteError for a site that the model does not have.
    """
    with torch.inference_mode():
        return spliced_at(lm, tokens, {site: edit}, keep)


def spliced_at(
    lm: LanguageModel, tokens: Tensor, edits: Mapping[Site, Edit], keep: Tensor
) -> Tensor:
    """The same with several sites replaced in one pass; what gradients are kept is the caller's.

    An edit sees what the earlier ones have left at its site.
    """
    kept = keep.to(lm.device)[..., None]

    def replacing(tap: Tap, edit: Edit) -> Edit:
        def replace(value: Tensor) -> Tensor:
            seen = value.reshape(*tokens.shape, tap.width)
            edited = edit(seen * tap.scale if tap.scale != 1.0 else seen).to(seen.dtype)
            if tap.scale != 1.0:
                edited = edited / tap.scale
            return torch.where(kept, seen, edited).reshape(value.shape)

        return replace

    with ExitStack() as hooks:
        for site, edit in edits.items():
            tap = lm.layout.tap(site)
            hooks.enter_context(tapped(lm.model, tap, replacing(tap, edit)))
        return lm.model(input_ids=tokens.to(lm.device), use_cache=False).logits

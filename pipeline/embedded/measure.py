"""Loss of a language model on a token stream, whole or with a part of it zeroed."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.embedded.text import stream
from pipeline.embedded.tokenizer import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerFast

    from pipeline.corpus.documents import Document
    from pipeline.embedded.text import Stream

ROWS_AT_ONCE = 32


class DocumentLoss(NamedTuple):
    """Predicted tokens of a document and its mean nats per token."""

    n_tokens: int
    nats: float


def loss_nats(model: GPTNeoXForCausalLM, tokens: np.ndarray) -> float:
    """Mean next-token loss in nats over a stream cut into windows of CONTEXT predicted tokens.

    loss = -1/(n-1) sum_{t>=1} log p(x_t | x_{w(t)} ... x_{t-1}), w(t) the start of t's window:
    the first token of a window sees one token only. In float32, whatever the model trained in.
    """
    import torch

    whole = (len(tokens) - 1) // CONTEXT
    rows = tokens[np.arange(whole)[:, None] * CONTEXT + np.arange(CONTEXT + 1)]
    parts = [rows[i : i + ROWS_AT_ONCE] for i in range(0, whole, ROWS_AT_ONCE)]
    rest = tokens[whole * CONTEXT :]
    if len(rest) > 1:
        parts.append(rest[None])
    total = 0.0
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for part in parts:
            ids = torch.from_numpy(part.astype(np.int64))
            logits = model(ids[:, :-1], use_cache=False).logits
            total += torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="sum"
            ).item()
    model.train(was_training)
    return total / (len(tokens) - 1)


def document_losses(
    model: GPTNeoXForCausalLM, documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast
) -> dict[str, DocumentLoss]:
    """Each document's loss as a stream of its own, by name."""
    losses = {}
    for document in documents:
        tokens = stream([document], tokenizer).tokens
        losses[document.name] = DocumentLoss(len(tokens) - 1, loss_nats(model, tokens))
    return losses


def mean_loss_nats(losses: Iterable[DocumentLoss]) -> float:
    """Mean nats per predicted token over documents: sum of n_i loss_i over sum of n_i."""
    losses = list(losses)
    return sum(one.n_tokens * one.nats for one in losses) / sum(one.n_tokens for one in losses)


def bits_per_byte(nats: float, text: Stream) -> float:
    """nats per token in bits per byte of the documents: nats (n-1) / (bytes ln 2)."""
    return nats * (len(text.tokens) - 1) / (text.n_bytes * math.log(2))


@contextmanager
def mlp_zeroed(model: GPTNeoXForCausalLM, layer: int) -> Iterator[None]:
    """Within the block, the layer's mlp_out is zero at every position."""
    mlp = model.gpt_neox.layers[layer].mlp
    handle = mlp.register_forward_hook(lambda module, inputs, output: output * 0)
    try:
        yield
    finally:
        handle.remove()


def mlp_ablations_nats(model: GPTNeoXForCausalLM, tokens: np.ndarray) -> list[float]:
    """Per layer, how many nats the loss rises when that layer's mlp_out is zeroed."""
    clean = loss_nats(model, tokens)
    costs = []
    for layer in range(model.config.num_hidden_layers):
        with mlp_zeroed(model, layer):
            costs.append(loss_nats(model, tokens) - clean)
    return costs

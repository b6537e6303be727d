"""Held-out activations of an SAE's sites, to measure on what an export changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ExchangeError
from pipeline.study.registry import Cell
from pipeline.study.variants import GAUSSIAN
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import torch

N_TOKENS = 8192


def held_out_rows(workspace: Workspace, cell: Cell) -> tuple[torch.Tensor, torch.Tensor]:
    """What the SAE reads (n, d) and what it reconstructs (n, d'), of about 8,192 held-out tokens.

    Tokens count as in an evaluation: not special, not masked in training.
    Raises ExchangeError where the workspace has no such text or activations.
    """
    import torch

    from pipeline.corpus.pack import open_corpus
    from pipeline.corpus.shuffled import text_as_read
    from pipeline.evaluation.edited_batch import edited_tokens
    from pipeline.evaluation.held_out import read_held_out
    from pipeline.harvest.run import source_hash
    from pipeline.language_model.capture import capture
    from pipeline.language_model.load import load_language_model
    from pipeline.store.activation_store import ActivationStore

    source, model = cell.source, cell.model
    if cell.dictionary is not None or source.weights.variant == GAUSSIAN:
        raise ExchangeError(
            f"{cell.sae_id} reads no activations of the language model, so how near another SAE "
            "comes cannot be measured on held-out text. Export it to a format that holds it."
        )
    corpus = open_corpus(workspace, source.model, model)
    if corpus is None:
        raise ExchangeError(
            f"the text of {source.model!r} is not packed in this workspace, so nothing can be "
            "measured. Run the study first."
        )
    lm = load_language_model(model, source.weights)
    stored = source_hash(workspace, source.model, model, source)
    limit = ActivationStore.open(workspace, source, stored).manifest.calibration.max_norm
    sites = [source.site, *(further.site for further in cell.further_sources)]
    parts: list[list[torch.Tensor]] = [[] for _ in sites]
    held_out = read_held_out(text_as_read(corpus, source.weights), N_TOKENS)
    for batch in held_out.batches(model.batch_rows):
        found = capture(lm, batch.tokens.to(lm.device), sites)
        kept = edited_tokens(found[source.site], batch.special.to(lm.device), limit)
        for part, site in zip(parts, sites, strict=True):
            part.append(found[site][kept].float().cpu())
    rows = [torch.cat(part) for part in parts]
    return rows[0], rows[-1]

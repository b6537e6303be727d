"""A language model ready to be read: its module, tokenizer and sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.language_model.layout import SiteLayout

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model in evaluation mode, without gradients.

    special_ids: token ids that are never scored, stored or edited. commit: the hub commit that
    the files come from, None for local ones.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    special_ids: frozenset[int]
    layout: SiteLayout
    commit: str | None = None

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    @property
    def trunk(self) -> nn.Module:
        """The model without its output head."""
        return self.model.get_submodule(self.layout.trunk)

    @property
    def vocabulary(self) -> int:
        """How many token ids it embeds."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def n_layers(self) -> int:
        """How many decoder blocks it has."""
        return self.layout.n_layers

    @property
    def width(self) -> int:
        """d of the residual stream."""
        return self.layout.d_model

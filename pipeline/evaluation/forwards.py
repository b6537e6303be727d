"""Forward passes over one batch after another: clean, then with a site replaced.

All passes over a batch agree up to the site, so the decoder blocks before it run once, in the
clean pass, and later passes take up their result. Whether a model allows that (its blocks might
share more than hidden states) is proven on the first batch: the same logits, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from pipeline.language_model.capture import capture
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.splice import spliced_losses
from pipeline.study.names import Site


class Forwards:
    """Forward passes of a language model with one site looked at and replaced."""

    def __init__(self, lm: LanguageModel, site: Site) -> None:
        self.lm, self.site = lm, site
        self._before = _blocks_before(lm, site)
        self._left_by_last: Any = None
        self._may_resume: bool | None = None if self._before else False

    def activations(self, tokens: torch.Tensor) -> torch.Tensor:
        """Activations (b, t, d) of tokens (b, t), without the rest of the model."""
        return capture(self.lm, tokens, [self.site])[self.site]

    def clean(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations (b, t, d) and logits (b, t, v) of the untouched model; begins a batch."""
        seen: list[torch.Tensor] = []

        def look(x: torch.Tensor) -> torch.Tensor:
            seen.append(x.clone())
            return x

        with self._remembering():
            logits = spliced_losses(self.lm, tokens, self.site, look, _nowhere(tokens))
        if self._may_resume is None:
            self._may_resume = True
            again = self.spliced(tokens, seen[0], _nowhere(tokens))
            self._may_resume = torch.equal(again, logits)
        return seen[0], logits

    def spliced(
        self, tokens: torch.Tensor, replacement: torch.Tensor, keep: torch.Tensor
    ) -> torch.Tensor:
        """Logits (b, t, v) of the batch begun last, with its activations (b, t, d) replaced.

        `keep` (b, t) bool: positions that stay as they were.
        """
        with self._resuming() if self._may_resume else ExitStack():
            return spliced_losses(self.lm, tokens, self.site, lambda _: replacement, keep)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        if not self._before:
            yield
            return

        def remember(_: nn.Module, args: Any, output: Any) -> None:
            self._left_by_last = _copy(output)

        handle = self._before[-1].register_forward_hook(remember)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _resuming(self) -> Iterator[None]:
        def resume(*args: Any, **kwargs: Any) -> Any:
            return _copy(self._left_by_last)

        for block in self._before:
            block.forward = resume
        try:
            yield
        finally:
            for block in self._before:
                del block.forward


def _blocks_before(lm: LanguageModel, site: Site) -> list[nn.Module]:
    """The blocks whose output does not depend on what the site is replaced by."""
    tap, layers = lm.layout.tap(site), lm.layout.layers
    is_block_output = tap.where == "output" and tap.module == layers[site.layer].block
    n_before = site.layer + is_block_output
    return [lm.model.get_submodule(layer.block) for layer in layers[:n_before]]


def _copy(output: Any) -> Any:
    """A block's output that later code may write into."""
    if isinstance(output, torch.Tensor):
        return output.clone()
    if type(output) in (tuple, list):
        return type(output)(_copy(part) for part in output)
    return output


def _nowhere(tokens: torch.Tensor) -> torch.Tensor:
    return torch.zeros(tokens.shape, dtype=torch.bool, device=tokens.device)

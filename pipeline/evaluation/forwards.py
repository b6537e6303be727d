"""Forward passes over one batch after another: clean, then with sites replaced.

All passes over a batch agree up to the first site that is replaced, so the decoder blocks before
it run once, in the clean pass, and later passes take up their result. Whether a model allows that
(its blocks might share more than hidden states) is proven on the first batch: the same logits, bit
for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from pipeline.language_model.capture import capture
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.splice import spliced_at
from pipeline.study.names import Site

Activations = Mapping[Site, torch.Tensor]


class SiteForwards:
    """Forward passes of a language model with some sites looked at and some of them replaced."""

    def __init__(self, lm: LanguageModel, seen: Sequence[Site], replaced: Sequence[Site]) -> None:
        self.lm, self.seen, self.replaced = lm, tuple(seen), tuple(replaced)
        self._before = min((_blocks_before(lm, site) for site in replaced), key=len)
        self._left_by_last: Any = None
        self._may_resume: bool | None = None if self._before else False

    def activations(self, tokens: torch.Tensor) -> Activations:
        """Activations (b, t, d) of tokens (b, t), without the rest of the model."""
        return capture(self.lm, tokens, self.seen)

    def clean(self, tokens: torch.Tensor) -> tuple[Activations, torch.Tensor]:
        """Activations (b, t, d) and logits (b, t, v) of the untouched model; begins a batch."""
        found: dict[Site, torch.Tensor] = {}
        looks = {site: _look(site, found) for site in self.seen}
        with self._remembering(), torch.inference_mode():
            logits = spliced_at(self.lm, tokens, looks, _nowhere(tokens))
        if self._may_resume is None:
            self._may_resume = True
            again = self.spliced(tokens, found, _nowhere(tokens))
            self._may_resume = torch.equal(again, logits)
        return found, logits

    def spliced(
        self, tokens: torch.Tensor, replacements: Activations, keep: torch.Tensor
    ) -> torch.Tensor:
        """Logits (b, t, v) of the batch begun last, with activations (b, t, d) replaced.

        `keep` (b, t) bool: positions that stay as they were.
        """
        edits = {site: _put(replacements[site]) for site in self.replaced}
        with self._resuming() if self._may_resume else ExitStack(), torch.inference_mode():
            return spliced_at(self.lm, tokens, edits, keep)

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


class Forwards:
    """The same with one site looked at and replaced."""

    def __init__(self, lm: LanguageModel, site: Site) -> None:
        self.lm, self.site = lm, site
        self._forwards = SiteForwards(lm, [site], [site])

    def activations(self, tokens: torch.Tensor) -> torch.Tensor:
        """Activations (b, t, d) of tokens (b, t), without the rest of the model."""
        return self._forwards.activations(tokens)[self.site]

    def clean(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations (b, t, d) and logits (b, t, v) of the untouched model; begins a batch."""
        found, logits = self._forwards.clean(tokens)
        return found[self.site], logits

    def spliced(
        self, tokens: torch.Tensor, replacement: torch.Tensor, keep: torch.Tensor
    ) -> torch.Tensor:
        """Logits (b, t, v) of the batch begun last, with its activations (b, t, d) replaced.

        `keep` (b, t) bool: positions that stay as they were.
        """
        return self._forwards.spliced(tokens, {self.site: replacement}, keep)


def _look(site: Site, found: dict[Site, torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def look(x: torch.Tensor) -> torch.Tensor:
        found[site] = x.clone()
        return x

    return look


def _put(replacement: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda _: replacement


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

"""One sort of a code by latent, for all the gradients that sum by latent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class CodeSort:
    """What a code's entries sorted by latent are, made once, when first asked for.

    The gradients of encoder and decoder both sum a code's entries by latent. Give one and the same
    CodeSort to the operation that makes a code and to those that decode it, and they share the
    sort. It belongs to one code: a second one raises ValueError.
    """

    def __init__(self) -> None:
        self._of: tuple[object, ...] | None = None
        self._made: Any = None

    def of(self, latents: torch.Tensor, n_latents: int, make: Callable[[], Any]) -> Any:
        """`make()`, or what it gave before; `latents` are the code's, any shape."""
        of = (latents.device, latents.data_ptr(), latents.numel(), n_latents)
        if self._of is None:
            self._of, self._made = of, make()
        if self._of != of:
            raise ValueError(
                f"a CodeSort made for {self._of[2]} entries of {self._of[3]} latents was given "
                f"another code of {latents.numel()} entries and {n_latents} latents. Allowed: one "
                "code each. Make a new CodeSort for every code."
            )
        return self._made

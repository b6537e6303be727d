"""What all SAEs of a sweep share when they are probed: labels, and one copy of activations."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sae_core.labelled_tokens import LabelledTokens
from sae_core.probing import Probe


class ProbeText:
    """Labelled tokens whose activations (m, d) float32 arrive batch by batch.

    SAEs that are measured together see the same batches; the first to bring one fills it in.
    """

    def __init__(self, labelled: LabelledTokens) -> None:
        self.labelled = labelled
        self.x = torch.zeros(0, 0)
        self.seen = torch.zeros(len(labelled.places), dtype=torch.bool)
        self._probes: dict[object, list[Probe]] = {}

    def take(self, tokens: torch.Tensor, x: torch.Tensor) -> None:
        """Takes in activations x (n, d) of labelled tokens by their numbers (n,)."""
        if not len(tokens) or bool(self.seen[tokens[0]]):
            return
        if not self.x.shape[1]:
            self.x = torch.zeros(len(self.seen), x.shape[1])
        self.x[tokens] = x.float().cpu()
        self.seen[tokens] = True

    def once(self, key: object, made: Callable[[], list[Probe]]) -> list[Probe]:
        """Probes that are the same for every SAE, made for the first that asks."""
        if key not in self._probes:
            self._probes[key] = made()
        return self._probes[key]

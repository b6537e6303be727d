"""The training loop: constant rate, decay branches, resumable at every checkpoint."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.embedded.architecture import (
    Rates,
    Shape,
    build_model,
    build_optimisers,
    multiplied_parameters,
)
from pipeline.embedded.checkpoint import Progress, load_progress, save_progress
from pipeline.embedded.measure import loss_nats
from pipeline.embedded.schedule import Leg, Schedule
from pipeline.embedded.text import batch
from pipeline.embedded.tokenizer import CONTEXT


@dataclass(frozen=True)
class Settings:
    """Everything that decides the trained weights, besides text and tokenizer."""

    schedule: Schedule
    shape: Shape = field(default_factory=Shape)
    rates: Rates = field(default_factory=Rates)
    rows: int = 16
    seed: int = 0
    precision: str = "bf16"


class Trainer:
    """Trains along a schedule and keeps its state in a folder.

    The batch at every step follows from the seed and the step's number, so a run that was killed
    anywhere ends, from its last checkpoint, in the same bits as one that was not.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        train: np.ndarray,
        held_out: np.ndarray,
        say: Callable[[str], None],
        every: int = 200,
    ) -> None:
        self.settings, self.folder, self.say, self.every = settings, folder, say, every
        self.train, self.held_out = train, held_out
        self.model = build_model(settings.shape, settings.seed)
        self.optimisers = build_optimisers(self.model, settings.rates)
        self.peaks = [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers]
        self.progress = load_progress(folder / "checkpoint.pt") or Progress()
        if self.progress.live:
            self._restore(self.progress.live)
        self._since, self._done = time.monotonic(), 0

    def run(self) -> list[dict[str, float]]:
        """Train what is left; the curve's rows, one per branch. The model is the last branch's."""
        legs = list(self.settings.schedule.legs())
        self._left = sum(leg.last - leg.first for leg in legs[self.progress.leg :])
        self._left -= self.progress.batch - legs[min(self.progress.leg, len(legs) - 1)].first
        while self.progress.leg < len(legs):
            leg = legs[self.progress.leg]
            self._walk(leg)
            self._finish(leg, last=self.progress.leg == len(legs) - 1)
        return self.progress.rows

    def _walk(self, leg: Leg) -> None:
        for number in range(self.progress.batch, leg.last):
            loss = self._step(number, self.settings.schedule.rate(leg, number))
            self.progress.batch = number + 1
            self._done += 1
            if self._done % self.every == 0:
                self._report(leg, loss)
                self._save()

    def _step(self, number: int, factor: float) -> torch.Tensor:
        rows = batch(self.train, number, rows=self.settings.rows, seed=self.settings.seed)
        ids = torch.from_numpy(rows.astype(np.int64))
        for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * factor
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bf16"):
            logits = self.model(ids[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), ids[:, 1:].flatten()
            )
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        return loss.detach()

    def _finish(self, leg: Leg, *, last: bool) -> None:
        progress = self.progress
        if leg.point is None:
            progress.trunk = copy.deepcopy(self._state())
        else:
            self._measure(leg)
            if not last:
                self._restore(progress.trunk)
                progress.trunk, progress.batch = None, leg.first
        progress.leg += 1
        self._save()

    def _measure(self, leg: Leg) -> None:
        tokens = leg.last * self.settings.rows * CONTEXT
        loss = loss_nats(self.model, self.held_out)
        self.progress.rows.append(
            {
                "tokens": tokens,
                "flops": 6 * multiplied_parameters(self.model) * tokens,
                "held_out_loss_nats": loss,
            }
        )
        self.model.save_pretrained(self.folder / "branches" / f"{leg.point:02d}")
        self.say(f"branch {leg.point}: {tokens:,} tokens, held-out {loss:.4f} nats")

    def _report(self, leg: Leg, loss: torch.Tensor) -> None:
        seconds = time.monotonic() - self._since
        rate = self._done * self.settings.rows * CONTEXT / seconds
        minutes = (self._left - self._done) * seconds / self._done / 60
        where = "trunk" if leg.point is None else f"branch {leg.point}"
        self.say(
            f"{where} batch {self.progress.batch}: loss {float(loss):.3f}, "
            f"{rate:,.0f} tokens/s, {minutes:.0f} min left"
        )

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(copy.deepcopy(saved))

    def _save(self) -> None:
        self.progress.live = self._state()
        save_progress(self.folder / "checkpoint.pt", self.progress)

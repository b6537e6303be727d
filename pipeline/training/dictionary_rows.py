"""An SAE's dictionary as data: its unit decoder rows, every latent's, dead ones too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pipeline.errors import StudyError
from pipeline.harvest.statistics import source_statistics
from pipeline.load_sae import load
from pipeline.store.permutation import KeyedPermutation
from pipeline.training.identity import Run
from pipeline.training.record import read_done
from sae_core.statistics import SourceStatistics


class DictionaryRows:
    """Rows (f, d) in memory, for training and calibration alike: a dictionary has no splits."""

    wait_seconds = 0.0
    further_statistics: tuple[SourceStatistics, ...] = ()

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    @classmethod
    def open(cls, run: Run) -> DictionaryRows:
        """The dictionary of a trained SAE; raises StudyError where it is not there."""
        done = read_done(run.folder, run.sae_hash)
        if done is None or done.status != "ok":
            state = "is not trained yet" if done is None else f"{done.status} in training"
            raise StudyError(
                f"The dictionary of {run.name} cannot be read: that SAE {state}. Run the study, or "
                "materialize the asset `sae` of its partition first."
            )
        return cls(load(run.folder).dictionary().contiguous())

    @property
    def width(self) -> int:
        """d."""
        return self.rows.shape[1]

    @property
    def statistics(self) -> SourceStatistics:
        """What training starts from, of all rows."""
        return source_statistics(self.rows)

    def epochs_for(self, tokens: int) -> float:
        """How often `tokens` rows go through the dictionary."""
        return tokens / len(self.rows)

    def calibration(self, max_rows: int | None = None) -> Iterator[torch.Tensor]:
        """All rows, or the first ones."""
        yield self.rows[:max_rows]

    def batches(self, *, batch_size: int, data_seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Batches (batch_size, d) from batch `start` on, endless over epochs.

        Each epoch visits every row once, in an order keyed by (data_seed, epoch); epochs follow
        one another without a gap, so a batch may be larger than the dictionary.
        """
        f, number, order = len(self.rows), start, (-1, np.empty(0, np.int64))
        while True:
            slots = np.arange(number * batch_size, (number + 1) * batch_size)
            pieces = []
            for epoch in range(slots[0] // f, slots[-1] // f + 1):
                if order[0] != epoch:
                    keyed = KeyedPermutation(f, "dictionary rows", data_seed, int(epoch))
                    order = (epoch, keyed.row(np.arange(f)))
                pieces.append(order[1][slots[slots // f == epoch] % f])
            yield self.rows[torch.from_numpy(np.concatenate(pieces))]
            number += 1

"""The time of a group's training, checkpoints left out."""

from __future__ import annotations

import time

from pipeline.training.data import TrainingData


class Clock:
    """Seconds and seconds of waiting for data since the last lap; `skip` leaves a time out."""

    def __init__(self, store: TrainingData) -> None:
        self._store = store
        self.skip()

    def lap(self) -> tuple[float, float]:
        """Seconds, and those of waiting, since the last lap."""
        before, waited = self._time, self._waited
        self.skip()
        return self._time - before, self._waited - waited

    def skip(self) -> None:
        """Begins the next lap now."""
        self._time, self._waited = time.monotonic(), self._store.wait_seconds

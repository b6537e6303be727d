"""Training loops that take one step when they are told to, and their times beside the floor's.

A package's own loop runs in a thread and asks `Turns` for its next batch; there it waits for its
turn. From one request to the next, the loop does exactly one whole step, with whatever it does per
step. One loop runs at a time, so that the CPU time of the process is that of the step.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import torch
from interleaved import interleave

STEPS = 10**6  # more than any run of this takes
DEAD_FOR = 2**41  # tokens or steps: more than any package's window
LEARNING_RATE = 1e-6  # that dead latents stay dead; a step costs the same at any


class Sizes(NamedTuple):
    """What every package gets: rows x (n, d), f latents, k active, how many rounds."""

    x: torch.Tensor
    n_latents: int
    k: int
    rounds: int


class Turns:
    """An endless stream of one batch that lets the loop reading it go on one step at a time."""

    def __init__(self, batch: object) -> None:
        self.batch, self.over = batch, False
        self._turn, self._asked = threading.Semaphore(0), threading.Semaphore(0)

    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self) -> object:
        self._asked.release()
        self._turn.acquire()
        return self.batch

    def begin(self, loop: Callable[[], object]) -> Callable[[], None]:
        """Runs the loop up to its first request; gives what takes one step of it."""
        threading.Thread(target=self._run, args=(loop,), daemon=True).start()
        self._asked.acquire()
        return self._step

    def _run(self, loop: Callable[[], object]) -> None:
        try:
            loop()
        finally:
            self.over = True
            self._asked.release()

    def _step(self) -> None:
        self._turn.release()
        self._asked.acquire()
        if self.over:
            raise RuntimeError("the package's loop ended; its reason, if it gave one, is above")


class Contender(NamedTuple):
    """One step of a package's loop, and the share of its latents that it holds to be dead."""

    step: Callable[[], object]
    dead_share: Callable[[], float]


def sizes() -> Sizes:
    """From the command line: file of rows, latents, active latents, rounds."""
    file, *numbers = sys.argv[1:]
    return Sizes(torch.from_numpy(np.load(file)), *map(int, numbers))


def floor(given: Sizes) -> Callable[[], object]:
    """The encoder's product into a reused buffer, and torch.topk."""
    n, width = given.x.shape
    weight = torch.randn(given.n_latents, width, generator=torch.Generator().manual_seed(0))
    z = torch.empty(n, given.n_latents)
    return lambda: torch.mm(given.x, weight.t(), out=z).topk(given.k, dim=1)


def tell(package: str, given: Sizes, contenders: dict[str, Contender]) -> None:
    """Prints versions and seconds of floor and steps, round by round, as JSON on the last line.

    Raises RuntimeError where at the end the dead are not one in four, or, without AuxK, none.
    """
    torch.set_num_threads(1)
    steps = {"floor": floor(given)} | {label: one.step for label, one in contenders.items()}
    seconds = interleave(steps, rounds=given.rounds, warm_up=2, clock=time.process_time)
    for label, one in contenders.items():
        share, wanted = one.dead_share(), 0.25 if "auxk" in label else 0.0
        if abs(share - wanted) > 0.01:
            raise RuntimeError(f"{label}: {share:.1%} of the latents are dead, not {wanted:.0%}.")
    print(json.dumps({"version": version(package), "seconds": seconds}))

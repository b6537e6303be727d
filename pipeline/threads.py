"""How torch's threads wait for each other."""

from __future__ import annotations

import os


def wait_briefly() -> None:
    """Lets threads spin only briefly at the end of a parallel loop; call before torch is imported.

    By default GNU OpenMP's threads spin for milliseconds. Where other processes want the same
    cores, they spin against them: with two threads on two busy cores a training step took 15 to 80
    times as long (2026-11, 2 cores at load 8: 1,200 to 2,500 ms against 20 to 130). A value that is
    set already stays; other OpenMP libraries ignore it.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "100")

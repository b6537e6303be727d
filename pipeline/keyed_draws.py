"""Random draws that depend on a key alone: the same wherever an interrupted pass goes on."""

from __future__ import annotations

import numpy as np

from pipeline.hashing import content_hash


def generator(*key: str | int) -> np.random.Generator:
    """A generator that is a function of its key; different keys give independent streams."""
    return np.random.Generator(np.random.Philox(key=int(content_hash(list(key))[:32], 16)))

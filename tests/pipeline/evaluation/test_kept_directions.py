"""Directions are loaded once while they fit, and never held beyond the bound but for a pair."""

from __future__ import annotations

import torch

from pipeline.evaluation.kept_directions import KeptDirections
from sae_core.dictionary_match import Directions

ONE = 2 * 4 * 10 * 3 + 10  # bytes of two float32 (10, 3) and a mask


def kept(kept_bytes: int) -> tuple[KeptDirections, list[str]]:
    asked: list[str] = []

    def load(sae: str) -> Directions:
        asked.append(sae)
        return Directions(torch.rand(10, 3), torch.rand(10, 3), torch.ones(10, dtype=torch.bool))

    return KeptDirections(load, kept_bytes=kept_bytes), asked


def test_what_fits_is_loaded_once() -> None:
    directions, asked = kept(3 * ONE)
    first = directions("a")
    for sae in ("b", "c", "a", "b"):
        directions(sae)
    assert directions("a") is first
    assert asked == ["a", "b", "c"]
    assert directions.n_bytes == 3 * ONE


def test_the_least_recently_used_is_dropped_and_loaded_again() -> None:
    directions, asked = kept(3 * ONE)
    for sae in ("a", "b", "c", "a", "d", "b"):
        directions(sae)
        assert directions.n_bytes <= 3 * ONE
    assert asked == ["a", "b", "c", "d", "b"]


def test_a_pair_stays_however_large_it_is() -> None:
    directions, asked = kept(0)
    for sae in ("a", "b", "a", "b"):
        directions(sae)
    assert asked == ["a", "b"]
    directions("c")
    assert directions.n_bytes == 2 * ONE

"""Matching holds blocks, never all cosines of two dictionaries."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sae_core.dictionary_match import Directions, match_dictionaries
from sae_core.one_to_one import EXACT_UP_TO

F, D = EXACT_UP_TO + 512, 8


def largest_allowed(f: int, d: int) -> int:
    """Bytes of the largest single tensor that matching f rows with as many may make.

    The nearest rows' candidates, 2048 × (2048 + 16) int64; 16 neighbours per row in int64; one
    copy of a dictionary. At f = 131,072 and d = 512 that is 256 MiB, where all cosines are 64 GiB.
    """
    return max(2048 * (2048 + 16) * 8, f * 16 * 8, f * d * 4)


class _Largest(TorchDispatchMode):
    """The most bytes of one new tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, torch.Tensor):
                self.n_bytes = max(self.n_bytes, one.untyped_storage().nbytes())
        return out


def drawn(seed: int) -> Directions:
    rows = torch.randn(F, D, generator=torch.Generator().manual_seed(seed))
    unit = torch.nn.functional.normalize(rows)
    return Directions(unit, unit, torch.arange(F) > 0)


def test_no_tensor_of_matching_is_larger_than_a_block_or_a_dictionary() -> None:
    a, b = drawn(0), drawn(1)
    with _Largest() as largest:
        match_dictionaries(a, b, null_seed=0)
    assert 2**20 < largest.n_bytes <= largest_allowed(F, D) < F * F * 4


def test_the_bound_at_a_large_width_is_that_of_one_dictionary() -> None:
    assert largest_allowed(131_072, 512) == 2**28

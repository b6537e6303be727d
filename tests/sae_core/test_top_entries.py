from __future__ import annotations

import pytest
import torch

from sae_core.top_entries import TopEntries

F, K = 7, 3


def stream(n: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Rows, keys with many ties, payloads that ascend, values."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, F, (n,), generator=generator)
    keys = torch.randint(0, 9, (n,), generator=generator).double()
    return rows, keys, torch.arange(n), keys.float() / 2


@pytest.mark.parametrize("batch", [1, 4, 50, 200])
def test_the_largest_of_each_row_stay_and_of_equal_ones_the_first(batch: int) -> None:
    entries = stream(200)
    top = TopEntries(F, K)
    for start in range(0, 200, batch):
        top.add(*(part[start : start + batch] for part in entries))
    rows, keys, payload, _ = (part.tolist() for part in entries)
    for row in range(F):
        mine = sorted((-k, p) for r, k, p in zip(rows, keys, payload, strict=True) if r == row)[:K]
        assert top.payload[row].tolist() == [p for _, p in mine]
        assert top.keys[row].tolist() == [-k for k, _ in mine]
        assert top.value[row].tolist() == [-k / 2 for k, _ in mine]


def test_rows_without_entries_stay_empty() -> None:
    top = TopEntries(3, 2)
    one = torch.tensor([1])
    top.add(one, one.double(), one, one.float())
    top.add(*(part[:0] for part in (one, one.double(), one, one.float())))
    assert top.payload.tolist() == [[-1, -1], [1, -1], [-1, -1]]
    assert top.keys[1].tolist() == [1.0, float("-inf")]

"""The largest values of a batch that lies with several ranks are those of the whole."""

from __future__ import annotations

import pytest
import torch
from sae_kernels import linear_batch_topk

from sae_core.global_selection import Place, globally_largest
from sae_core.ranks import Ranks, share_of, summed, summed_in_pieces
from tests.sae_core.thread_ranks import on_ranks


def tied(n: int, f: int, *, skew: bool, seed: int) -> torch.Tensor:
    """Values of which many are equal; with `skew` the large ones lie with the first rank."""
    draws = torch.Generator().manual_seed(seed)
    z = torch.randint(-3, 4, (n, f), generator=draws).double()
    if skew:
        z[: n // 3, : f // 2] += 10
    return z


@pytest.mark.parametrize("axis", ["tokens", "latents"])
@pytest.mark.parametrize("skew", [False, True])
@pytest.mark.parametrize("count", [1, 7, 60, 200, 100_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_of_all_ranks_are_those_of_the_whole(axis, skew, count, dtype) -> None:
    n, f, size = 24, 30, 3
    z = tied(n, f, skew=skew, seed=count).to(dtype)
    eye, nothing = torch.eye(f, dtype=dtype), torch.zeros(f, dtype=dtype)
    whole = linear_batch_topk(z, eye, nothing, count)
    real = whole.values > 0

    def part(ranks: Ranks):
        if axis == "tokens":
            row, column = n * ranks.index // size, 0
            x, weight, bias = z[row : row + n // size], eye, nothing
        else:
            row, column = 0, f * ranks.index // size
            mine = slice(column, column + f // size)
            x, weight, bias = z, eye[mine], nothing[mine]
        place = Place(row, column, f)
        code = globally_largest(x, weight, bias, count, place=place, ranks=ranks)
        return code.rows + row, code.columns + column, code.values

    parts = on_ranks(size, part)
    rows, columns, values = (torch.cat(kind) for kind in zip(*parts, strict=True))
    order = (rows * f + columns).argsort()
    assert torch.equal(rows[order], whole.rows[real])
    assert torch.equal(columns[order], whole.columns[real])
    assert torch.equal(values[order], whole.values[real])


def test_skewed_ranks_offer_again_and_even_ones_do_not() -> None:
    n, f = 32, 16
    calls = {}
    for skew in (False, True):
        z = torch.rand(n, f, generator=torch.Generator().manual_seed(0))
        z[: n // 4] += float(skew)

        def part(ranks: Ranks, z: torch.Tensor = z) -> int:
            x = share_of(z, ranks).rows
            place = Place(n * ranks.index // 4, 0, f)
            bias = torch.zeros(f)
            globally_largest(x, torch.eye(f), bias, 4 * n, place=place, ranks=ranks)
            return len(ranks.calls)

        calls[skew] = on_ranks(4, part)
    assert calls[True][0] > calls[False][0]


def test_a_value_that_is_not_a_number_is_among_the_largest() -> None:
    z = torch.rand(4, 6)
    z[3, 2] = torch.nan

    def part(ranks: Ranks) -> torch.Tensor:
        x, place = share_of(z, ranks).rows, Place(2 * ranks.index, 0, 6)
        bias = torch.zeros(6)
        weight = torch.eye(6)
        return globally_largest(x, weight, bias, 3, place=place, ranks=ranks).values

    assert on_ranks(2, part)[1].isnan().any()


@pytest.mark.parametrize("piece", [4, 2**25])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_sums_in_pieces_are_sums(size: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae_core.ranks._PIECE", piece)
    draws = torch.Generator().manual_seed(0)
    given = [
        [torch.randn(shape, generator=draws) for shape in ((3, 5), (1,), (), (7,))]
        for _ in range(size)
    ]
    expected = [sum(parts[1:], parts[0]) for parts in zip(*given, strict=True)]
    for found in on_ranks(size, lambda ranks: summed_in_pieces(given[ranks.index], ranks)):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    for found in on_ranks(size, lambda ranks: summed(given[ranks.index][0], ranks)):
        assert torch.equal(found, expected[0])

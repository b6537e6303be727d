"""Linear + top-k on a GPU: which candidates leave the chip, and what happens when they miss one."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
import torch
from sae_kernels import linear_batch_topk, linear_topk
from sae_kernels.dispatch import using

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is for Linux alone"
)
K, F = 16, 1024


def fused():
    return importlib.import_module("sae_kernels.linear_topk.fused")


def crowded(n: int = 3) -> tuple[torch.Tensor, ...]:
    """A layer whose largest outputs, 1 to 40 times x, all lie in one tile of 128."""
    weight = torch.zeros(F, 1)
    weight[256:296, 0] = torch.randperm(40, generator=torch.Generator().manual_seed(0)) + 1.0
    weight[:200, 0] = 0.5
    return torch.arange(1.0, n + 1).view(n, 1), weight, torch.zeros(F)


def test_a_tile_with_more_of_the_largest_than_it_keeps_is_mended():
    assert fused().plan(F, K, half=False, spread=1.0).kept < K
    with using("fused"):
        indices, values = linear_topk(*crowded(), K)
    with using("reference"):
        judge = linear_topk(*crowded(), K)
    assert torch.equal(indices, judge[0])
    assert torch.equal(values, judge[1])


@pytest.mark.parametrize("count", [1, 7, 3 * K, 90, 200, 2000])
@pytest.mark.parametrize("equal", [False, True])
def test_such_a_tile_is_made_again_for_a_whole_batch(count, equal):
    layer = crowded()
    if equal:
        layer = (torch.ones(3, 1), layer[1].clamp(max=20.0), layer[2])
    with using("fused"):
        code = linear_batch_topk(*layer, count)
    with using("reference"):
        judge = linear_batch_topk(*layer, count)
    for ours, expected in zip(code, judge, strict=True):
        assert torch.equal(torch.as_tensor(ours), torch.as_tensor(expected))


def test_a_tile_that_hides_equals_of_the_last_one_kept_is_made_again_for_a_whole_batch():
    # Each row's 40 equal outputs lie in one tile; the candidates of three rows are enough, but of
    # equal entries those of the first row come first.
    x, weight, bias = torch.ones(3, 1), torch.zeros(F, 1), torch.zeros(F)
    weight[256:296] = 1.0
    kept = fused().plan(F, 7, half=False, spread=2.0).kept
    assert kept < 20 <= 3 * kept
    with using("fused"):
        code = linear_batch_topk(x, weight, bias, 20)
    assert code.rows.tolist() == [0] * 20
    assert code.columns.tolist() == list(range(256, 276))


def test_without_the_mending_that_tile_hides_some(monkeypatch):
    monkeypatch.setattr(fused(), "mend", lambda *arguments: None)
    with using("fused"):
        _, values = linear_topk(*crowded(), K)
    assert not torch.equal(values[0], torch.arange(40.0, 24.0, -1))


def test_nan_is_kept_so_that_it_shows():
    x = torch.tensor([[torch.nan], [1.0]])
    with using("fused"):
        _, values = linear_topk(x, torch.ones(300, 1), torch.zeros(300), 4)
    assert values[0].isnan().all()
    assert values[1].tolist() == [1.0] * 4


@pytest.mark.parametrize(("f", "k"), [(24576, 32), (65536, 64), (131072, 64)])
def test_candidates_are_a_small_share_of_the_outputs(f, k):
    made = fused().plan(f, k, half=True, spread=1.0)
    assert not made.whole
    assert made.n_tiles * made.kept <= f / 25


def test_rows_that_need_mending_are_rare_when_outputs_are_spread_evenly():
    f, k = 4096, 32
    made = fused().plan(f, k, half=True, spread=1.0)
    chosen = torch.rand(4000, f, generator=torch.Generator().manual_seed(0)).topk(k).indices
    tiles = torch.nn.functional.one_hot(chosen // made.block_n, made.n_tiles).sum(1)
    assert (tiles >= made.kept).any(1).float().mean() < 5e-3

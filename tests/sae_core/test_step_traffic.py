"""What a training step moves, counted operation by operation: no clock, so no noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

N, D, F, K = 4096, 16, 4096, 8
TOY = Superposition(n_features=64, width=D)
STATISTICS = statistics_of(TOY.sample(1024, step=10**6))


class Traffic(TorchDispatchMode):
    """Entries of pre-activation-like tensors read and written, and multiplications of products.

    Like pre-activations are tensors with more than f / 2 entries for each of their rows, and flat
    ones longer than any parameter. Views and new memory move nothing; a gather reads as many
    entries as it gives.
    Operations inside hand-written backwards are seen, those inside NumPy are not: it is handed
    tensors that were counted when they were made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0
        self.largest = 0
        self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view:
            return out
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        written = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        known = {t.untyped_storage().data_ptr() for t in read}
        new = [t.numel() for t in written if t.untyped_storage().data_ptr() not in known]
        self.largest = max([self.largest, *new])
        if name.startswith("new_"):
            return out
        if name in ("gather", "index", "index_select"):
            read = [written[0], *read[1:]]
        self.entries += sum(t.numel() for t in (*read, *written) if _wide(t))
        if name in ("mm", "addmm", "bmm", "_linear_pointwise"):
            inner = read[1] if name == "addmm" else read[0]
            self.products += written[0].numel() * inner.shape[-1]
        return out


def _wide(tensor: torch.Tensor) -> bool:
    if tensor.ndim < 2:
        return tensor.numel() > 2 * F * D
    return tensor.numel() > tensor.shape[0] * F / 2


def counted(run: Callable[[], object]) -> Traffic:
    with Traffic() as traffic:
        run()
    return traffic


def trainee() -> Trainee:
    config = config_class("topk")(n_latents=F, tokens=10**9, batch_size=N, k=K)
    return Trainee(config, name="a", statistics=STATISTICS, seed=0)


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    one, x = trainee(), TOY.sample(N, step=0)
    one.step(x)
    return counted(lambda: one.step(x))


def test_a_topk_step_makes_one_large_product(traffic):
    small = 8 * N * D * K
    assert N * F * D <= traffic.products <= N * F * D + small


def test_a_topk_step_sweeps_the_pre_activations_at_most_three_times(traffic):
    assert traffic.entries <= 3 * N * F


def test_a_topk_step_holds_no_pre_activations_of_the_whole_batch(traffic):
    assert traffic.largest < N * F / 2


def test_auxk_makes_one_more_product_of_the_dead_latents_and_no_buffer_of_the_whole_batch():
    one, x = trainee(), TOY.sample(N, step=0)
    with torch.no_grad():
        one.sae.W_enc[: F // 4] *= 0.01
    one.since_fired[: F // 4] = 2**41
    one.tokens_seen = 10**8
    one.step(x)
    found = counted(lambda: one.step(x))
    k_aux = 8  # a power of two near d / 2
    small = 8 * N * D * (K + k_aux)
    assert N * F * D * 5 / 4 <= found.products <= N * F * D * 5 / 4 + small
    assert found.entries <= 4 * N * F
    assert found.largest < N * F / 2


def test_planted_sweeps_products_and_buffers_are_counted():
    x, weight = torch.ones(N, D), torch.ones(D, F)
    found = counted(lambda: (x @ weight).relu().topk(K))
    assert found.products == N * F * D
    assert found.entries >= 4 * N * F
    assert found.largest == N * F

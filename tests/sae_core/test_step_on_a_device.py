"""A whole training step as a device would run it: what it launches, and that nothing waits."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from sae_core.architectures import config_class
from sae_core.config import SaeConfig
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee
from tests.kernels.whole_steps import step_launches, trainee_on_meta

TOY = Superposition(n_features=64, width=64)
STATISTICS = statistics_of(TOY.sample(1024, step=10**6))
CODE = {"_product", "_largest", "_mend", "_weighted_rows", "_row_dots", "_segment_sums"}
ROWS = {"_norms", "_step"}


def config_of(name: str, **fields: object) -> SaeConfig:
    shared = {"n_latents": 4096, "tokens": 10**6, "batch_size": 128, "k": 8}
    return config_class(name)(**shared, **fields)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is for Linux alone")
@pytest.mark.parametrize("auxk_weight", [0.0, 1 / 32])
def test_a_step_with_auxk_waits_for_nothing_and_runs_in_kernels(auxk_weight):
    one = trainee_on_meta(config_of("topk", k_aux=32, auxk_weight=auxk_weight), width=64)
    launches = step_launches(one, n=128)
    assert {launch.kernel.__name__ for launch in launches} == CODE | ROWS
    products = [launch for launch in launches if launch.kernel.__name__ == "_product"]
    assert [launch.constants["LISTED"] for launch in products] == [False, True][
        : 1 + (auxk_weight > 0)
    ]


def test_a_planted_read_is_found():
    one = trainee_on_meta(config_of("switch"), width=64)  # which says that it waits
    with pytest.raises(Exception, match="meta"):
        one.step(torch.empty(128, 64, device="meta"))


@pytest.mark.gpu
@pytest.mark.parametrize("moments", ["float32", "bfloat16"])
def test_a_step_with_auxk_as_one_cuda_graph_has_the_bits_of_one_launched(moments):
    config = config_of("topk", k_aux=32, moments=moments, lr=1e-3)
    x = TOY.sample(128, step=0).cuda()
    pair = []
    for _ in range(2):
        one = Trainee(config, name="a", statistics=STATISTICS, seed=0, device="cuda")
        one.tokens_seen = 500_000  # between warm-up and decay: lr is constant
        one.since_fired += 500_000
        pair.append(one)
    launched, captured = pair
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            captured.step(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured.step(x)
    graph.replay()
    for _ in range(4):
        launched.step(x)
    ours, theirs = captured.sae.state_dict(), launched.sae.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    moved = zip(captured.optimiser.mean, launched.optimiser.mean, strict=True)
    assert all(torch.equal(a, b) for a, b in moved)

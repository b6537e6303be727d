"""The cost model against what was measured and counted here."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch

from pipeline.launch.cost import (
    Machine,
    Training,
    checkpoint_bytes,
    harvest_hours,
    memory_cost,
    step_cost,
    training_hours,
)
from sae_core.architectures import config_class
from sae_core.ranks import share_of
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee
from tests.sae_core.thread_ranks import on_ranks

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
# docs/performance.md: oneDNN's product on one thread, and what the medium shape leaves for memory.
ONE_THREAD = Machine(flops=2.3e11, memory_rate=1.2e10)
SHAPES = {"small": (256, 4096, 32), "medium": (512, 16384, 32), "large": (768, 24576, 64)}


@pytest.mark.parametrize("contender", ["topk", "topk_auxk"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_steps_seconds_are_those_that_were_measured_within_a_factor(shape, contender) -> None:
    measured = [  # file names end in their date: the newest that measured this counts
        figure["best_ms"] / 1000
        for path in sorted(RESULTS.glob("topk_step_x86_64_*.json"))
        for figure in json.loads(path.read_text())["figures"]
        if (figure["shape"], figure["contender"]) == (shape, contender)
        and (figure["allocator"], figure["clock"]) == ("default", "cpu, 1 thread")
    ][-1]
    d, f, k = SHAPES[shape]
    aux = {"dead_share": 0.25, "k_aux": d // 2} if contender == "topk_auxk" else {}
    job = Training(d=d, f=f, k=k, batch=2048, tokens=2048, **aux)
    # A small dictionary's rows stay in the cache, where they cost less than the model says.
    most = 2.2 if (shape, contender) == ("small", "topk_auxk") else 1.6
    assert 1 / 1.6 < step_cost(job).seconds(ONE_THREAD) / measured < most


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("split", ["tokens", "latents"])
@pytest.mark.parametrize("size", [2, 4])
def test_bytes_on_the_wire_are_those_that_ranks_send(split, size, dead) -> None:
    d, f, k, n = 64, 1024, 4, 128
    toy = Superposition(n_features=64, width=d, density=0.05)
    config = config_class("topk")(n_latents=f, k=k, k_aux=16, tokens=100 * n, batch_size=n)
    statistics = statistics_of(toy.sample(512, step=9))

    def sent(ranks) -> int:
        trainee = Trainee(config, name="a", statistics=statistics, seed=0, ranks=ranks, split=split)
        if dead:
            trainee.tokens_seen = config.dead_window
            trainee.since_fired += config.dead_window
        x = toy.sample(n, step=0)
        ranks.calls.clear()
        trainee.step(share_of(x, ranks) if split == "tokens" else x)
        other = size - 1
        # A gather sends a rank's part to every other; an exchange all rows but its own.
        return sum(
            4 * prod(shape) * other if kind == "gathered" else 4 * prod(shape) * other // size
            for kind, shape in ranks.calls
        )

    counted = on_ranks(size, sent)[0]
    aux = {"dead_share": 0.5, "k_aux": 16} if dead else {}
    job = Training(d=d, f=f, k=k, batch=n, tokens=n, ranks=size, split=split, **aux)
    assert step_cost(job).sent == pytest.approx(counted, rel=0.05)


def test_a_checkpoint_has_the_bytes_of_a_state() -> None:
    toy = Superposition(width=32)
    config = config_class("topk")(n_latents=512, k=4, tokens=1000, batch_size=64)
    trainee = Trainee(config, name="a", statistics=statistics_of(toy.sample(512, step=9)), seed=0)
    held = sum(tensor.numel() * tensor.element_size() for tensor in trainee.state().values())
    job = Training(d=32, f=512, k=4, batch=64, tokens=1000)
    assert checkpoint_bytes(job) == pytest.approx(held, rel=0.05)


def test_dividing_costs_what_it_should() -> None:
    one = Training(d=4096, f=131_072, k=64, batch=65_536, tokens=10**9)
    tokens, latents = replace(one, ranks=8), replace(one, ranks=8, split="latents")
    assert step_cost(tokens).flops == step_cost(latents).flops == step_cost(one).flops / 8
    assert memory_cost(latents).steady < memory_cost(tokens).steady
    assert step_cost(one).sent == 0
    # Each rank reads all of a batch, whatever it takes of it.
    assert step_cost(tokens).read == step_cost(one).read
    machine = Machine(flops=1e13, memory_rate=2e12)
    assert training_hours(tokens, machine) < training_hours(one, machine)


def test_parts_and_passes_are_counted() -> None:
    whole = Training(d=64, f=1024, k=4, batch=512, tokens=512, dead_share=0.5, k_aux=8)
    parts = replace(whole, micro_batch=64)
    assert step_cost(parts).flops == pytest.approx(step_cost(whole).flops * 2.5 / 1.5)
    assert memory_cost(parts).steady < memory_cost(whole).steady
    assert harvest_hours(10**9, 7e9, 0.5, 1e14) == pytest.approx(19.4, rel=0.01)


def test_a_reader_that_is_too_slow_decides() -> None:
    job = Training(d=64, f=1024, k=4, batch=512, tokens=512)
    slow = Machine(flops=1e12, memory_rate=1e12, read_rate=1e3)
    assert step_cost(job).seconds(slow) == step_cost(job).read / 1e3


def test_memory_of_parameters_moments_and_gradients_is_that_of_torch() -> None:
    job = Training(d=32, f=512, k=4, batch=1, tokens=1)
    numbers = 2 * 32 * 512
    assert memory_cost(job).steady == pytest.approx(
        4 * numbers * torch.finfo(torch.float32).bits / 8, rel=0.05
    )

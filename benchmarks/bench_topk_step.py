"""A whole training step against its floor: the encoder's product and torch.topk alone.

The floor trains nothing: one product into a reused buffer and the k largest of every row. The
steps are `Trainee.step`: forward, loss, backward, projection, clip, Adam, unit rows, counters.
Each round runs floor and contenders in turn; the ratio is the median over rounds. Two clocks: CPU
seconds of one thread, which also a busy machine repeats, and wall time of two threads. Two
allocator settings: the C library's own, and one that keeps freed memory, so that new tensors cost
no page faults.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from interleaved import interleave, ratio, save, verdict

from pipeline.threads import wait_briefly
from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

N_TOKENS = 2048
SHAPES = {"small": (256, 4096, 32), "medium": (512, 16384, 32), "large": (768, 24576, 64)}
CONTENDERS = {
    "topk": ("topk", 0.0, {}),
    "topk_auxk": ("topk", 0.25, {}),
    "topk_half_moments": ("topk", 0.0, {"moments": "bfloat16"}),
    "batch_topk": ("batch_topk", 0.0, {}),
    "batch_topk_auxk": ("batch_topk", 0.25, {}),
    "relu": ("relu", 0.0, {}),
}
TARGETS = {
    "topk": {"small": 1.35, "medium": 1.35, "large": 1.35},
    "topk_auxk": {"small": 2.4, "medium": 2.1, "large": 2.1},
}
CLOCKS = {"cpu": (1, time.process_time), "wall": (2, time.perf_counter)}
CLOCK_NAMES = {"cpu": "cpu, 1 thread", "wall": "wall, 2 threads"}
ALLOCATORS = {
    "default": "",
    "keep": "glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184:"
    "glibc.malloc.top_pad=268435456",
}


def trainee(name: str, *, toy: Superposition, dead_share: float, **fields: object) -> Trainee:
    """A trainee a few steps into its run, this share of its latents made to stay dead."""
    config = config_class(name)(tokens=10**9, lr=1e-4, dead_window_tokens=2**40, **fields)
    one = Trainee(config, name=name, statistics=statistics_of(toy.sample(4096, step=0)), seed=0)
    n_dead = int(dead_share * config.n_latents)
    with torch.no_grad():
        one.sae.W_enc[:n_dead] *= 0.01
    one.since_fired[:n_dead] = 2**41
    one.tokens_seen = 10**8 if n_dead else 0
    return one


def steps_of(shape: str, chosen: list[str]) -> dict[str, Callable[[], object]]:
    """The floor and the chosen contenders' steps of one shape."""
    width, n_latents, k = SHAPES[shape]
    toy = Superposition(n_features=n_latents // 2, width=width, density=k / n_latents)
    x = toy.sample(N_TOKENS, step=1)
    weight = torch.randn(n_latents, width, generator=torch.Generator().manual_seed(0))
    z = torch.empty(N_TOKENS, n_latents)
    steps: dict[str, Callable[[], object]] = {
        "floor": lambda: torch.mm(x, weight.t(), out=z).topk(k, dim=1)
    }
    for label in chosen:
        name, dead, fields = CONTENDERS[label]
        own = fields if name == "relu" else fields | {"k": k, "k_aux": width // 2}
        one = trainee(
            name, toy=toy, dead_share=dead, n_latents=n_latents, batch_size=N_TOKENS, **own
        )
        steps[label] = lambda one=one: one.step(x)
    return steps


def measured(given: argparse.Namespace) -> list[dict[str, object]]:
    """One row per shape, clock and contender; printed as they come."""
    rows = []
    for shape in given.shapes:
        width, n_latents, k = SHAPES[shape]
        print(f"{shape}: d {width}, f {n_latents}, k {k}, {N_TOKENS} tokens", flush=True)
        steps = steps_of(shape, given.contenders)
        for clock in given.clocks:
            threads, now = CLOCKS[clock]
            shown = CLOCK_NAMES[clock]
            torch.set_num_threads(threads)
            seconds = interleave(steps, rounds=given.rounds, warm_up=2, clock=now)
            for label in steps:
                found = ratio(seconds, label, to="floor")
                target = TARGETS.get(label, {}).get(shape)
                best = min(seconds[label])
                rows.append(
                    {
                        "shape": shape,
                        "clock": shown,
                        "contender": label,
                        "ratio": round(found, 3),
                        "target": target,
                        "best_ms": round(best * 1e3, 2),
                        "tokens_per_second": round(N_TOKENS / best),
                    }
                )
                print(
                    f"  {shown:16} {label:16} {found:6.2f} x floor {verdict(found, target):22}"
                    f" best {best * 1e3:8.1f} ms",
                    flush=True,
                )
    return rows


def in_own_process(allocator: str, given: argparse.Namespace) -> list[dict[str, object]]:
    """The same command with the allocator set up: that is read when a process starts."""
    print(f"allocator: {allocator}", flush=True)
    command = [sys.executable, __file__, "--inside", "--rounds", str(given.rounds)]
    command += ["--shapes", *given.shapes, "--contenders", *given.contenders]
    command += ["--clocks", *given.clocks]
    tuned = {"GLIBC_TUNABLES": ALLOCATORS[allocator]} if ALLOCATORS[allocator] else {}
    with subprocess.Popen(
        command, env=os.environ | tuned, stdout=subprocess.PIPE, text=True
    ) as child:
        lines = []
        for line in child.stdout:
            lines.append(line)
            if not line.startswith("["):
                print(line, end="", flush=True)
    if child.returncode:
        sys.exit(child.returncode)
    return [{"allocator": allocator} | row for row in json.loads(lines[-1])]


def main() -> None:
    """Prints and saves the ratios with their targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(TARGETS))
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--allocators", nargs="+", choices=ALLOCATORS, default=list(ALLOCATORS))
    parser.add_argument("--clocks", nargs="+", choices=CLOCKS, default=list(CLOCKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(measured(given)))
        return
    wait_briefly()
    figures = [row for name in given.allocators for row in in_own_process(name, given)]
    usual = given.contenders == parser.get_default("contenders")
    name = "topk_step" if usual else "_".join(["topk_step_of", *given.contenders])
    print(f"saved {save(name, figures)}")


if __name__ == "__main__":
    main()

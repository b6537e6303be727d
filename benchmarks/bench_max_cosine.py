"""Matching two dictionaries both ways against the bare products of its blocks.

Targets: 1.1 x the products at 32,768 x 32,768, d 512; less than 100 MB held beyond the
dictionaries, measured as the rise of the process's peak memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import torch
from interleaved import interleave, ratio, save, verdict
from sae_kernels import max_cosine

WIDTH, BLOCK = 512, 2048
TARGET, TARGET_MB = 1.1, 100
CLOCKS = {"cpu, 1 thread": (1, time.process_time), "wall, 2 threads": (2, time.perf_counter)}


def products(a: torch.Tensor, b: torch.Tensor, buffer: torch.Tensor) -> None:
    """Every block's product into one buffer, nothing looked at."""
    for i in range(0, len(a), BLOCK):
        for j in range(0, len(b), BLOCK):
            torch.mm(a[i : i + BLOCK], b[j : j + BLOCK].t(), out=buffer)


def peak_mb() -> float:
    """The largest resident size that this process ever had."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Prints and saves ratios and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latents", type=int, default=32768)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(given.latents, WIDTH, generator=generator) for _ in range(2))
    torch.set_num_threads(1)
    max_cosine(a[:BLOCK], b[: BLOCK // 4])  # the libraries' own first-call memory
    before = peak_mb()
    max_cosine(a, b)
    held = peak_mb() - before
    print(
        f"{given.latents} x {given.latents}, d {WIDTH}: {held:.0f} MB held "
        f"{verdict(held, TARGET_MB)}",
        flush=True,
    )
    buffer = torch.empty(BLOCK, BLOCK)
    contenders = {
        "products": lambda: products(a, b, buffer),
        "max_cosine": lambda: max_cosine(a, b),
    }
    rows = []
    for clock, (threads, now) in CLOCKS.items():
        torch.set_num_threads(threads)
        seconds = interleave(contenders, rounds=given.rounds, warm_up=0, clock=now)
        found = ratio(seconds, "max_cosine", to="products")
        best = {label: round(min(taken), 2) for label, taken in seconds.items()}
        rows.append({"clock": clock, "ratio": round(found, 3), "target": TARGET, "seconds": best})
        print(
            f"  {clock:16} {found:6.2f} x products {verdict(found, TARGET)}  {best} s", flush=True
        )
    figures = {"latents": given.latents, "width": WIDTH, "held_mb": round(held), "rows": rows}
    print(f"saved {save('max_cosine', figures)}")


if __name__ == "__main__":
    main()

"""Kernels and a whole TopK step on a CUDA device, against its own copies and products.

Of every kernel: the bytes it cannot avoid moving, divided by its time, as a share of the bandwidth
of a plain copy in the same round. Of the whole step (encoder product, top-k, decode, loss, every
gradient, projection, Adam, unit rows): its time over a floor, which is the time of the bare
product plus the unavoidable bytes at copy bandwidth. Adam counts 26 bytes a weight (parameter and
two moments read and written in float32, a bfloat16 copy written), a gather of n·k rows 2·d bytes
each; there are four: decode, gradients of values, of encoder and of decoder. The step's peak memory
beyond what it starts with is given in sizes of its (n, f) outputs, which it never holds.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch
from gpu_work import N_TOKENS, NESTED, PLAIN, Work, kernels, layer, matching, step
from interleaved import interleave, ratio, save, verdict

SHAPES = {
    "768/24576/32": (768, 24576, 32),
    "2304/65536/64": (2304, 65536, 64),
    "4096/131072/64": (4096, 131072, 64),
}
MOST_X_FLOOR, LEAST_SHARE_OF_COPY, MOST_X_PLAIN, MOST_X_PRODUCT = 1.5, 0.75, 1.3, 1.1


def matching_figures() -> dict[str, float]:
    """Milliseconds and memory of the matching, against the bare products of blocks of rows."""
    a, b = (torch.randn(32768, 512, device="cuda") for _ in range(2))
    out = torch.empty(2048, 32768, device="cuda")
    runs = {
        "products": lambda: [torch.mm(block, b.t(), out=out) for block in a.split(2048)],
        "max_cosine": matching("cuda").run,
    }
    seconds = interleave({name: waited(run, 1) for name, run in runs.items()}, warm_up=3)
    return {
        "ms": min(seconds["max_cosine"]) * 1e3,
        "x_product": ratio(seconds, "max_cosine", to="products"),
        "held_MB": held_bytes(runs["max_cosine"]) / 1e6,
    }


def held_bytes(run: Callable[[], object]) -> int:
    """The most device memory that `run` holds beyond what was held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def captured(run: Callable[[], None]) -> Callable[[], None]:
    """The step as one CUDA graph: it fails to capture where the host waits for the device."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def waited(run: Callable[[], object], times: int = 10) -> Callable[[], None]:
    """`run` ten times, until the device is done."""

    def all_of_it() -> None:
        for _ in range(times):
            run()
        torch.cuda.synchronize()

    return all_of_it


def runs_of(shape: tuple[int, int, int]) -> tuple[dict[str, Callable[[], object]], dict[str, Work]]:
    """Everything that is timed of one shape, and the operations among it."""
    one = layer(*shape, "cuda")
    source = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    encoder = one.encoder.bfloat16()
    works, whole = kernels(one), step(one)
    runs = {
        "copy": lambda: target.copy_(source),
        "product": lambda: one.x @ encoder.T,
        "step": whole,
        "step, one graph": captured(whole),
    }
    return runs | {name: work.run for name, work in works.items()}, works


def figures_of(shape: tuple[int, int, int]) -> dict[str, dict[str, float]]:
    """Milliseconds and ratios of one shape."""
    d, f, k = shape
    runs, works = runs_of(shape)
    seconds = interleave({name: waited(run) for name, run in runs.items()}, warm_up=3)
    bandwidth = 10 * 2.0 * 2**28 / min(seconds["copy"])
    product = min(seconds["product"]) / 10
    floor = product + (26.0 * 2 * f * d + 4 * 2.0 * N_TOKENS * k * d) / bandwidth
    found = {
        "copy": {"GB_per_s": bandwidth / 1e9},
        "product": {"ms": product * 1e3},
        "floor": {"ms": floor * 1e3},
    }
    for name in ("step", "step, one graph"):
        time = min(seconds[name]) / 10
        found[name] = {"ms": time * 1e3, "x_floor": time / floor}
    found["step"]["held_x_outputs"] = held_bytes(runs["step"]) / (2.0 * N_TOKENS * f)
    for name, work in works.items():
        time = min(seconds[name]) / 10
        found[name] = {"ms": time * 1e3, "share_of_copy": work.n_bytes / time / bandwidth}
        if work.flops:
            found[name]["x_product"] = ratio(seconds, name, to="product")
    found[NESTED]["x_plain"] = ratio(seconds, NESTED, to=PLAIN)
    return found


def judged(row: dict[str, float]) -> str:
    """A row of figures with the targets that they are held to, those missed marked."""
    shown = [f"{key} {value:9.3f}" for key, value in row.items()]
    for key, most in (("x_floor", MOST_X_FLOOR), ("x_plain", MOST_X_PLAIN)):
        if key in row:
            shown.append(verdict(row[key], most))
    if "share_of_copy" in row and "x_product" not in row:
        shown.append(verdict(row["share_of_copy"], LEAST_SHARE_OF_COPY, at_least=True))
    return "  ".join(shown)


def main() -> None:
    """Prints and saves the figures; without a CUDA device says so and measures nothing."""
    if not torch.cuda.is_available():
        print("This benchmark measures kernels on a CUDA device, and torch finds none here.")
        return
    figures: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "triton": version("triton"),
    }
    for name, shape in SHAPES.items():
        print(f"d/f/k {name}, {N_TOKENS} tokens, bfloat16")
        figures[name] = found = figures_of(shape)
        for label, row in found.items():
            print(f"  {label:32}", judged(row))
        # Kept shape by shape: what is measured is not lost where a later shape fails.
        save("kernels_gpu", figures)
        torch.cuda.empty_cache()
    figures["max_cosine"] = found = matching_figures()
    against = verdict(found["x_product"], MOST_X_PRODUCT)
    print(f"  max_cosine 32768 x 32768, d 512, float32: {found} {against}")
    print(f"saved {save('kernels_gpu', figures)}")


if __name__ == "__main__":
    main()

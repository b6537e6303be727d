"""Codes above a threshold against the dense form: all pre-activations, a mask, its entries.

What JumpReLU and BatchTopK do in evaluation, 2,048 tokens, one thread, CPU seconds. `sparse`: k
latents per token are active on average; `dense`: a quarter of all, as ReLU's may be at the start.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from interleaved import interleave, ratio, save
from torch.nn.functional import linear

from sae_core.packing import code_above, packed

N_TOKENS = 2048
SHAPES = {"small": (256, 4096, 32), "medium": (512, 16384, 32), "large": (768, 24576, 64)}


def forms(width: int, n_latents: int, active: int) -> dict[str, Callable[[], object]]:
    """Both ways to the same code of random rows of norm 1."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(N_TOKENS, width, generator=draws)
    weight = torch.nn.functional.normalize(torch.randn(n_latents, width, generator=draws))
    bias = torch.zeros(n_latents)
    some = linear(x[:64], weight, bias).view(-1)
    threshold = some.topk(64 * active).values[-1].expand(n_latents).contiguous()

    def dense() -> object:
        z = linear(x, weight, bias)
        return packed(z.masked_fill(z <= threshold, 0.0))

    return {"dense": dense, "threshold": lambda: code_above(x, weight, bias, threshold)}


@torch.no_grad()
def main() -> None:
    """Prints and saves the ratios."""
    torch.set_num_threads(1)
    figures = {}
    for name, (width, n_latents, k) in SHAPES.items():
        for label, active in (("sparse", k), ("dense", n_latents // 4)):
            runs = forms(width, n_latents, active)
            seconds = interleave(runs, warm_up=2, clock=time.process_time)
            found = ratio(seconds, "threshold", to="dense")
            best = {form: round(min(times) * 1e3, 1) for form, times in seconds.items()}
            figures[f"{name}, {label}"] = {"ratio": round(found, 3), "best_ms": best}
            print(f"{name}, {active} of {n_latents} active: {found:.2f} x dense, best ms {best}")
    print(f"written to {save('encode', figures)}")


if __name__ == "__main__":
    main()

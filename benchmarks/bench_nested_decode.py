"""Nested decoding against plain decoding with the same loss: what weighing more prefixes costs.

Plain is `sparse_decode`, the squared error and every gradient. The others are
`nested_decode_loss` with weights on the last error alone, on two, on ten and on every one. Each
round runs all in turn, on one thread; the ratio is the median over rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from interleaved import interleave, ratio, save
from sae_kernels import nested_decode_loss, sparse_decode

N_TOKENS = 2048
SHAPES = {"small": (256, 4096, 32), "medium": (512, 16384, 32), "large": (768, 24576, 64)}


def contenders(width: int, n_latents: int, k: int) -> dict[str, Callable[[], object]]:
    """Plain and nested decoding of one shape, forward and backward."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(N_TOKENS, width, generator=draws)
    indices = torch.rand(N_TOKENS, n_latents, generator=draws).topk(k).indices.sort(1).values
    values = torch.rand(N_TOKENS, k, generator=draws).requires_grad_()
    dictionary = torch.randn(n_latents, width, generator=draws).requires_grad_()
    bias = torch.zeros(width, requires_grad=True)
    learned = (values, dictionary, bias)

    def plain() -> object:
        loss = (x - sparse_decode(indices, values, dictionary, bias)).square().sum()
        return torch.autograd.grad(loss, learned)

    def nested(weights: torch.Tensor) -> object:
        loss = nested_decode_loss(x, indices, values, dictionary, bias, weights).sum()
        return torch.autograd.grad(loss, learned)

    places = torch.rand(N_TOKENS, k, generator=draws).argsort(1)
    steps: dict[str, Callable[[], object]] = {"plain": plain}
    for label, n_weighted in (("last", 0), ("two", 1), ("ten", 9), ("all", k)):
        weights = torch.zeros(N_TOKENS, k + 1).scatter_(1, places[:, :n_weighted], 1.0)
        weights[:, -1] = 1.0
        steps[label] = lambda weights=weights: nested(weights)
    return steps


def main() -> None:
    """Prints and saves the ratios."""
    torch.set_num_threads(1)
    figures = {}
    for name, (width, n_latents, k) in SHAPES.items():
        seconds = interleave(contenders(width, n_latents, k))
        figures[name] = {
            label: ratio(seconds, label, to="plain") for label in seconds if label != "plain"
        }
        shown = "  ".join(f"{label} {value:.2f}" for label, value in figures[name].items())
        print(f"{name} (d {width}, f {n_latents}, k {k}): plain 1, weights on {shown}")
    print(f"written to {save('nested_decode', figures)}")


if __name__ == "__main__":
    main()

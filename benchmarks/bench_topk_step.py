"""A whole TopK training step against its floor: the encoder's product and torch.topk alone.

The floor trains nothing: one product into a reused buffer and the k largest of every row. Each
round runs floor and contenders in turn; the ratio is the median over rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from interleaved import interleave, ratio, save

from sae_core.architectures import config_class
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

N_TOKENS = 2048
SHAPES = {"small": (128, 1024, 16), "medium": (256, 4096, 32)}


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


def contenders(width: int, n_latents: int, k: int) -> dict[str, Callable[[], object]]:
    """The floor and the steps of one shape."""
    toy = Superposition(n_features=n_latents // 2, width=width, density=k / n_latents)
    x = toy.sample(N_TOKENS, step=1)
    weight = torch.randn(n_latents, width, generator=torch.Generator().manual_seed(0))
    z = torch.empty(N_TOKENS, n_latents)

    def floor() -> object:
        return torch.mm(x, weight.t(), out=z).topk(k, dim=1)

    shared = {"n_latents": n_latents, "batch_size": N_TOKENS}
    steps: dict[str, Callable[[], object]] = {"floor": floor}
    for label, name, dead, own in (
        ("topk", "topk", 0.0, {"k": k}),
        ("topk, 5 % dead", "topk", 0.05, {"k": k}),
        ("topk, 50 % dead", "topk", 0.5, {"k": k}),
        ("batch_topk", "batch_topk", 0.0, {"k": k}),
        ("relu", "relu", 0.0, {}),
    ):
        one = trainee(name, toy=toy, dead_share=dead, **shared, **own)
        steps[label] = lambda one=one: one.step(x)
    return steps


def main() -> None:
    """Prints and saves the ratios."""
    figures = {}
    print(f"{torch.get_num_threads()} threads, {N_TOKENS} tokens a step")
    for shape, (width, n_latents, k) in SHAPES.items():
        seconds = interleave(contenders(width, n_latents, k), rounds=9, warm_up=2)
        print(f"{shape}: d {width}, f {n_latents}, k {k}")
        for label in seconds:
            best = min(seconds[label])
            row = {
                "ratio": round(ratio(seconds, label, to="floor"), 3),
                "best_ms": round(best * 1e3, 2),
                "tokens_per_second": round(N_TOKENS / best),
            }
            figures[f"{shape}/{label}"] = row
            print(f"  {label:18} {row['ratio']:6.2f} x floor  best {row['best_ms']:8.2f} ms")
    print(f"saved {save('topk_step', figures)}")


if __name__ == "__main__":
    main()

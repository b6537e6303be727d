"""What bench_kernels_gpu times: tensors of an SAE, every operation on them, a whole TopK step."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
from sae_kernels import (
    AdamSettings,
    adam_rows,
    firing_statistics,
    fvu,
    jumprelu,
    linear_masked_topk,
    linear_topk,
    max_cosine,
    nested_decode_loss,
    sparse_decode,
    sparse_outer,
)

N_TOKENS = 8192
PLAIN, NESTED = "sparse_decode and its loss", "nested_decode_loss, all prefixes"
SETTINGS = AdamSettings(lr=1e-4, beta1=0.9, beta2=0.999, eps=1e-8)


class Work(NamedTuple):
    """Something to time, the bytes it must move and the floating-point operations it must do."""

    run: Callable[[], object]
    n_bytes: float
    flops: float = 0.0


class Layer(NamedTuple):
    """One SAE's tensors on a device: a batch in bfloat16, master weights in float32."""

    x: torch.Tensor
    encoder: torch.Tensor
    decoder: torch.Tensor
    latent_bias: torch.Tensor
    bias: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    k: int


def layer(d: int, f: int, k: int, device: str) -> Layer:
    """Random tensors of one shape; a code whose latents are used about evenly."""
    half = {"device": device, "dtype": torch.bfloat16}
    decoder = torch.nn.functional.normalize(torch.randn(f, d, device=device))
    return Layer(
        x=torch.randn(N_TOKENS, d, **half),
        encoder=decoder.clone(),
        decoder=decoder,
        latent_bias=torch.zeros(f, device=device),
        bias=torch.zeros(d, device=device),
        indices=torch.randint(f, (N_TOKENS, k), device=device).sort(1).values,
        values=torch.rand(N_TOKENS, k, **half),
        k=k,
    )


def kernels(one: Layer) -> dict[str, Work]:
    """Every operation by itself."""
    return selections(one) | products_of_codes(one) | updates(one) | statistics(one)


def selections(one: Layer) -> dict[str, Work]:
    """Linear layers of whose outputs only the largest, or those above a threshold, are kept."""
    from sae_kernels.linear_threshold.fused import above_keys
    from sae_kernels.linear_topk.candidates_fused import Layer as Outputs

    (n, d), (f, k) = one.x.shape, (len(one.decoder), one.k)
    encoder, latent_bias = one.encoder.bfloat16(), one.latent_bias.bfloat16()
    mask = torch.arange(f, device=one.x.device) % 4 == 0
    # Outputs of unit rows for normal tokens are normal: above it lie k of them on average.
    level = torch.full((f,), NormalDist().inv_cdf(1 - k / f), device=one.x.device)
    whole = Outputs(one.x, encoder, latent_bias, None, None)
    tokens, rows, product = 2.0 * n * d, 2.0 * f * d, 2.0 * n * d * f
    return {
        "linear_topk": Work(
            lambda: linear_topk(one.x, encoder, latent_bias, k), tokens + rows, product
        ),
        "linear_masked_topk, 1 in 4": Work(
            lambda: linear_masked_topk(one.x, encoder, latent_bias, mask, d // 2),
            tokens + rows / 4,
            product / 4,
        ),
        "linear_threshold, its keys": Work(
            lambda: above_keys(whole, level, 8 * k), tokens + rows, product
        ),
    }


def products_of_codes(one: Layer) -> dict[str, Work]:
    """Decoding, its loss, and sums by latent: of n·k rows each is read once."""
    (n, d), f = one.x.shape, len(one.decoder)
    gathered, tokens = 2.0 * n * one.k * d, 2.0 * n * d
    decoder, bias = one.decoder.bfloat16(), one.bias.bfloat16()
    after = torch.ones(one.k + 1, device=one.x.device)

    def plain() -> torch.Tensor:
        made = sparse_decode(one.indices, one.values, decoder, bias)
        return (one.x - made).float().square().sum()

    return {
        PLAIN: Work(plain, gathered + 2 * tokens),
        "sparse_decode": Work(
            lambda: sparse_decode(one.indices, one.values, decoder, bias), gathered + tokens
        ),
        "sparse_outer": Work(
            lambda: sparse_outer(one.indices, one.values, one.x, n_latents=f),
            gathered + 2.0 * f * d,
        ),
        NESTED: Work(
            lambda: nested_decode_loss(one.x, one.indices, one.values, decoder, bias, after),
            gathered + tokens,
        ),
    }


def updates(one: Layer) -> dict[str, Work]:
    """Adam on one matrix, with moments in float32 and in bfloat16."""
    return {
        "adam_rows": Work(update(one, torch.float32), 28.0 * one.decoder.numel()),
        "adam_rows, moments in bfloat16": Work(
            update(one, torch.bfloat16), 20.0 * one.decoder.numel()
        ),
    }


def update(one: Layer, moments: torch.dtype) -> Callable[[], None]:
    """A step of Adam on the decoder."""
    mean, square = (torch.zeros_like(one.decoder, dtype=moments) for _ in range(2))
    count = torch.ones((), device=one.x.device)
    return lambda: adam_rows(
        one.decoder,
        one.encoder,
        mean,
        square,
        factors=None,
        count=count,
        healthy=count > 0,
        settings=SETTINGS,
        unit_rows=True,
    )


def statistics(one: Layer) -> dict[str, Work]:
    """What is read off tokens, codes and pre-activations."""
    f = len(one.decoder)
    return {
        "fvu": Work(lambda: fvu(one.x, one.x), 4.0 * one.x.numel()),
        "jumprelu": Work(
            lambda: jumprelu(one.encoder, one.bias, bandwidth=0.1, to_z=False),
            8.0 * one.encoder.numel(),
        ),
        "firing_statistics, top 5": Work(
            lambda: firing_statistics(one.indices, one.values, n_latents=f, top=5),
            10.0 * one.indices.numel() + 80.0 * f,
        ),
    }


def matching(device: str) -> Work:
    """Both directions between two dictionaries of 32,768 directions."""
    a, b = (torch.randn(32768, 512, device=device) for _ in range(2))
    return Work(lambda: max_cosine(a, b), 8.0 * a.numel(), 2.0 * len(a) * len(b) * 512)


def step(one: Layer) -> Callable[[], None]:
    """A whole training step; every gradient is used, no tensor is read by the host."""
    device = one.x.device
    parameters = (one.encoder, one.latent_bias.view(-1, 1), one.decoder, one.bias.view(1, -1))
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    count, healthy = torch.zeros((), device=device), torch.ones((), device=device) > 0
    last_alone = torch.zeros(one.k + 1, device=device)
    last_alone[-1] = 1.0 / N_TOKENS

    def run() -> None:
        encoder, latent_bias, decoder, bias = (
            p.detach().to(torch.bfloat16).requires_grad_() for p in parameters
        )
        indices, values = linear_topk(one.x, encoder, latent_bias.view(-1), one.k)
        loss = nested_decode_loss(one.x, indices, values, decoder, bias.view(-1), last_alone).sum()
        gradients = torch.autograd.grad(loss, (encoder, latent_bias, decoder, bias))
        count.add_(1)
        for parameter, gradient, (mean, square) in zip(parameters, gradients, moments, strict=True):
            adam_rows(
                parameter,
                gradient,
                mean,
                square,
                factors=None,
                count=count,
                healthy=healthy,
                settings=SETTINGS,
                unit_rows=parameter is one.decoder,
            )

    return run

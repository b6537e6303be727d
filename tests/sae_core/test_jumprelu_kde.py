"""Many latents that each read one normal coordinate: how the mean loss changes with θ is known."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from sae_core.architectures import build, config_class
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext

F, N, THETA, PRICE = 200, 256, 0.8, 0.4
DENSITY = math.exp(-(THETA**2) / 2) / math.sqrt(2 * math.pi)
# Off: error z². On: no error, and the penalty. So raising θ costs θ² − c per token at θ.
TRUTH = DENSITY * (THETA**2 - PRICE)
CONTEXT = TrainingContext(
    progress=1.0, tokens_seen=0, since_fired=torch.zeros(F), dead_window=9, total_variance=1.0
)
YES = torch.tensor(True)


def latents(name: str, **fields: object) -> Sae:
    config = config_class(name)(n_latents=F, tokens=1, sparsity=PRICE, **fields)
    sae = build(config, width=F)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(F))
        sae.W_dec.copy_(torch.eye(F))
        sae.threshold.fill_(THETA)
    return sae


def estimates(sae: Sae, *, batches: int, last: int, seed: int = 0) -> torch.Tensor:
    """The gradients by θ (last, F) of the last batches; every batch is remembered."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(batches):
        terms, activity = sae.losses(torch.randn(N, F, generator=generator), CONTEXT)
        found.append(torch.autograd.grad(terms.total, sae.threshold)[0])
        sae.observe(activity, YES)
    return torch.stack(found[-last:])


def remembering(s: int, **fields: object) -> Sae:
    return latents("jumprelu_kde", memory_tokens=s * N, **fields)


def test_the_gradient_is_the_slope_of_the_mean_loss():
    found = estimates(remembering(16), batches=200, last=100)
    noise = float(found.mean(0).std() / math.sqrt(F))
    assert float(found.mean()) == pytest.approx(TRUTH, abs=4 * noise)
    assert noise < 0.01 * abs(TRUTH)


def test_it_is_far_less_noisy_than_plain_jumprelus_and_less_biased():
    found = estimates(remembering(16), batches=120, last=40)
    for bandwidth, times in ((0.05, 100), (0.5, 10)):
        plain = estimates(latents("jumprelu", bandwidth=bandwidth), batches=40, last=40)
        assert plain.var() > times * found.var()
    assert abs(plain.mean() - TRUTH) > 10 * abs(found.mean() - TRUTH)


def test_the_derivative_is_that_of_finite_differences():
    def mean_loss(theta: float) -> float:
        z = torch.special.ndtri((torch.arange(10**6, dtype=torch.float64) + 0.5) / 10**6)
        return float(torch.where(z > theta, PRICE, z.square()).mean())

    assert (mean_loss(THETA + 0.01) - mean_loss(THETA - 0.01)) / 0.02 == pytest.approx(
        TRUTH, rel=1e-3
    )


def test_a_memory_of_s_batches_divides_the_variance_by_2s_minus_1():
    window = {"bandwidth": 0.02, "bandwidth_max": 0.02}
    alone = estimates(remembering(1, **window), batches=40, last=40).var()
    for s in (4, 16):
        found = torch.cat(
            [estimates(remembering(s, **window), batches=4 * s, last=1, seed=i) for i in range(6)]
        )
        assert float(alone / found.var()) == pytest.approx(2 * s - 1, rel=0.15)


def test_the_window_holds_the_root_of_the_remembered_tokens():
    for s in (4, 32):
        sae = remembering(s, bandwidth_max=10.0)
        estimates(sae, batches=5 * s, last=1)
        expected = 1 / (math.sqrt(s * N) * DENSITY)
        assert float(sae.bandwidths.median()) == pytest.approx(expected, rel=0.1)


def test_a_latent_that_is_never_near_its_threshold_has_the_widest_window():
    sae = remembering(4)
    with torch.no_grad():
        sae.threshold[3] = 50.0
    assert (sae.bandwidths == sae.config.bandwidth).all()
    estimates(sae, batches=2, last=1)
    assert sae.bandwidths[3] == sae.config.bandwidth_max
    assert sae.bandwidths[4] < sae.config.bandwidth_max


def test_a_moving_threshold_makes_the_gradient_late_by_at_most_the_memory():
    s, speed = 16, 0.002
    sae = remembering(s)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        with torch.no_grad():
            sae.threshold.add_(speed)
        terms, activity = sae.losses(torch.randn(N, F, generator=generator), CONTEXT)
        (found,) = torch.autograd.grad(terms.total, sae.threshold)
        sae.observe(activity, YES)
    now = float(sae.threshold.detach()[0])

    def truth(theta: float) -> float:
        return math.exp(-(theta**2) / 2) / math.sqrt(2 * math.pi) * (theta**2 - PRICE)

    lateness = max(abs(truth(now) - truth(now - speed * s * share)) for share in (0.5, 1.0))
    noise = float(found.std() / math.sqrt(F))
    assert float(found.mean()) == pytest.approx(truth(now), abs=lateness + 4 * noise)


def test_an_unhealthy_batch_is_not_remembered():
    sae = remembering(4)
    estimates(sae, batches=3, last=1)
    before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    _, activity = sae.losses(torch.full((N, F), torch.nan), CONTEXT)
    sae.observe(activity, ~YES)
    assert all(torch.equal(before[name], tensor) for name, tensor in sae.state_dict().items())


def test_a_later_step_uses_what_is_remembered_and_todays_threshold_and_price():
    sae = remembering(4, bandwidth_max=10.0)
    estimates(sae, batches=3, last=1)
    with torch.no_grad():
        sae.threshold.fill_(0.5)
    x = torch.randn(N, F, generator=torch.Generator().manual_seed(9))
    (found,) = torch.autograd.grad(sae.losses(x, CONTEXT)[0].total, sae.threshold)
    width = sae.bandwidths
    near = (x - 0.5).abs() < width / 2
    share, old = 1 / 4, float(sae.memory_weight)
    density = (1 - share) * sae.density + share * near.sum(0) / (N * width)
    # The error grows by θ² − 2 θ z where a latent that reads z is set to θ.
    rises = ((0.5 - 2 * x) * near).sum(0)
    slope = (1 - share) * sae.slope + share * rises / (N * width)
    expected = -(0.5 * slope + PRICE * density) / ((1 - share) * old + share)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_first_window_wider_than_the_widest_is_refused():
    with pytest.raises(ValidationError, match="Lower bandwidth or raise bandwidth_max"):
        latents("jumprelu_kde", bandwidth=0.5, bandwidth_max=0.1)

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sae_core.architectures import build, config_class
from sae_core.architectures.switch import Routing, load_balance
from sae_core.initialise import initialise
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(1024, step=10**6))


def config(**fields: object):
    settings = {"n_latents": 64, "tokens": 6400, "k": 3, "n_experts": 4} | fields
    return config_class("switch")(**settings)


def started(**fields: object):
    sae = build(config(**fields), width=32)
    initialise(sae, STATISTICS, seed=0)
    return sae


class _Products(TorchDispatchMode):
    """Multiplications of the matrix products that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in {"mm", "addmm", "bmm", "_linear_pointwise"}:
            inner = args[1] if name == "addmm" else args[0]
            self.total += out.numel() * inner.shape[-1]
        return out


@pytest.mark.parametrize(
    ("fields", "experts", "routed"),
    [({}, 1, 4), ({"experts_per_token": 2}, 2, 4), ({"always_on": True}, 2, 3)],
)
def test_only_the_chosen_experts_are_multiplied(fields, experts, routed):
    sae, x = started(**fields), TOY.sample(128, step=0)
    with _Products() as products:
        sae.encode(x)
    assert products.total == 128 * 32 * (16 * experts + routed)


def test_a_token_has_latents_of_its_experts_alone():
    x = TOY.sample(256, step=0)
    sae = started(experts_per_token=2, always_on=True, k=20)
    routing = sae.route(sae.scaled(x))
    code = sae.encode(x)
    of = code.indices // 16
    fired = code.fired
    assert ((of.unsqueeze(-1) == routing.experts.unsqueeze(1)).any(-1) | ~fired).all()
    assert (routing.experts[:, 0] == 0).all()
    assert (routing.gates[:, 0] == 1).all()
    torch.testing.assert_close(routing.gates[:, 1:].sum(1), torch.ones(256))
    assert (code.values[:, 1:] <= code.values[:, :-1]).all()


def test_experts_that_nobody_chose_get_no_gradient_and_are_no_error():
    trainee = Trainee(config(), name="a", statistics=STATISTICS, seed=0)
    x = TOY.sample(1, step=0)
    chosen = int(trainee.sae.route(trainee.sae.scaled(x)).experts)
    terms, _ = trainee.sae.losses(x, trainee._context())
    gradient = torch.autograd.grad(terms.total, trainee.sae.W_enc)[0].view(4, 16, 32)
    assert gradient[chosen].any()
    gradient[chosen] = 0
    assert not gradient.any()


def test_equal_probabilities_go_to_the_first_expert():
    sae = started()
    with torch.no_grad():
        sae.W_router[1:] = sae.W_router[0]
    assert (sae.route(sae.scaled(TOY.sample(20, step=0))).experts == 0).all()


def test_the_load_balance_is_1_at_best_and_the_number_of_experts_at_worst():
    even = torch.full((8, 4), 0.25)
    chosen = torch.arange(8).remainder(4).unsqueeze(1)
    assert load_balance(Routing(chosen, even, even, chosen)) == 1
    one = torch.zeros(8, 4)
    one[:, 2] = 1
    chosen = torch.full((8, 1), 2)
    assert load_balance(Routing(chosen, one, one, chosen)) == 4


def test_the_balance_weight_spreads_tokens_over_experts():
    shares = {}
    for weight in (0.0, 1.0):
        settings = config(balance_weight=weight, tokens=150 * 128, batch_size=128, lr=1e-2)
        trainee = Trainee(settings, name="a", statistics=STATISTICS, seed=1)
        for step in range(150):
            trainee.step(TOY.sample(128, step=step))
        sae, x = trainee.sae, TOY.sample(2048, step=999)
        counts = torch.bincount(sae.route(sae.scaled(x)).experts.view(-1), minlength=4)
        shares[weight] = float(counts.max() / 2048)
    assert shares[1.0] < 0.4
    assert shares[0.0] > shares[1.0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n_latents": 63}, "multiple of n_experts"),
        ({"experts_per_token": 5}, "1 to 4"),
        ({"experts_per_token": 4, "always_on": True}, "1 to 3"),
        ({"k": 17}, "the 16 that a token's experts have"),
        ({"n_experts": 1}, "greater than or equal to 2"),
        ({"resample_at": (0.5,)}, "the router may send one .* Remove resample_at"),
    ],
)
def test_experts_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        config(**fields)

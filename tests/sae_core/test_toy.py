from __future__ import annotations

import torch

from sae_core.toy import Superposition, statistics_of


def test_samples_depend_on_seed_and_step_alone():
    toy = Superposition()
    assert torch.equal(toy.sample(8, step=3), Superposition().sample(8, step=3))
    assert not torch.equal(toy.sample(8, step=3), toy.sample(8, step=4))
    assert not torch.equal(toy.sample(8, step=3), Superposition(seed=1).sample(8, step=3))


def test_samples_are_sparse_sums_of_the_directions():
    toy = Superposition(n_features=8, width=32, density=0.3, offset=0.0)
    x = toy.sample(2000, step=0)
    coefficients = torch.linalg.lstsq(toy.directions().T, x.T).solution.T
    active = coefficients > 0.5
    assert 0.27 < active.float().mean() < 0.33
    assert (coefficients[active] < 2.001).all()
    assert (coefficients[active] > 0.999).all()
    assert coefficients[~active].abs().max() < 1e-3


def test_statistics_are_those_of_the_rows():
    x = Superposition().sample(500, step=0)
    found = statistics_of(x)
    torch.testing.assert_close(found.mean, x.double().mean(0))
    torch.testing.assert_close(
        torch.tensor(found.total_variance), x.double().var(0, correction=0).sum().float()
    )
    assert found.n == 500
    assert found.width == 32

from __future__ import annotations

import pytest
import torch

from sae_core.code import SparseCode


def test_the_mean_predictor_has_fvu_1(activations, measure_reconstruction) -> None:
    mean = activations.mean(0).expand_as(activations)
    fvu = measure_reconstruction("fvu", activations, mean)["fvu"]
    assert fvu.value == pytest.approx(1.0, abs=1e-9)
    assert fvu.n == 400
    assert fvu.ci_low > 0.99  # the mean of all tokens is nearly the mean of a resample
    assert fvu.ci_high < 1.05


def test_the_identity_is_perfect(activations, measure_reconstruction) -> None:
    def value(name: str, number: str) -> float:
        return measure_reconstruction(name, activations, activations.clone())[number].value

    assert value("fvu", "fvu") == 0.0
    assert value("mse", "mse") == 0.0
    assert value("cosine", "cosine") == pytest.approx(1.0, abs=1e-12)
    assert value("l2_ratio", "l2_ratio") == 1.0
    name = "relative_reconstruction_bias"
    assert value(name, name) == pytest.approx(1.0, abs=1e-15)


def test_a_constant_error_is_seen(activations, measure_reconstruction) -> None:
    """The variance of this error is 0: a definition by it would call the prediction perfect."""
    found = measure_reconstruction("mse", activations, activations + 1)
    assert found["mse"].value == pytest.approx(8.0, rel=1e-9)
    assert found["mse_per_dim"].value == pytest.approx(1.0, rel=1e-9)
    fvu = measure_reconstruction("fvu", activations, activations + 1)["fvu"].value
    variance = (activations - activations.mean(0)).square().sum().item()
    assert fvu == pytest.approx(400 * 8 / variance, rel=1e-9)


def test_fvu_uses_one_global_mean(measure_reconstruction) -> None:
    """Two documents of constant activations: a mean per batch would leave no variance at all."""
    x = torch.cat([torch.zeros(200, 2), torch.ones(200, 2)]).double()
    x_hat = torch.full_like(x, 0.25)
    error = 200 * 2 * (0.25**2 + 0.75**2)
    fvu = measure_reconstruction("fvu", x, x_hat)["fvu"].value
    assert fvu == pytest.approx(error / (400 * 2 * 0.25), rel=1e-12)


def test_half_as_long_is_half_as_long(activations, measure_reconstruction) -> None:
    half = activations / 2
    assert measure_reconstruction("l2_ratio", activations, half)["l2_ratio"].value == 0.5
    name = "relative_reconstruction_bias"
    assert measure_reconstruction(name, activations, half)[name].value == pytest.approx(0.5)
    cosine = measure_reconstruction("cosine", activations, half)["cosine"].value
    assert cosine == pytest.approx(1.0)


def test_the_zero_vector_has_cosine_0(activations, measure_reconstruction) -> None:
    zero = torch.zeros_like(activations)
    assert measure_reconstruction("cosine", activations, zero)["cosine"].value == 0.0
    opposite = measure_reconstruction("cosine", activations, -activations)["cosine"].value
    assert opposite == pytest.approx(-1.0)


def test_l0_and_l1_count_what_fired(activations, measure_reconstruction) -> None:
    """Every token: latents 1 and 3 with 0.5 and 2.5, decoder norms 2, one padding entry."""
    n = len(activations)
    indices = torch.tensor([[1, 3, 0]]).expand(n, 3)
    values = torch.tensor([[0.5, 2.5, 0.0]]).expand(n, 3)
    code = SparseCode(indices, values, 4)
    l0 = measure_reconstruction("l0", activations, activations, code)["l0"]
    assert (l0.value, l0.ci_low, l0.ci_high) == (2.0, 2.0, 2.0)
    l1 = measure_reconstruction("l1", activations, activations, code)["l1"]
    assert l1.value == pytest.approx(6.0)


def test_activations_without_variance_have_no_fvu(measure_reconstruction) -> None:
    x = torch.ones(20, 3, dtype=torch.float64)
    fvu = measure_reconstruction("fvu", x, x + 1)["fvu"]
    assert fvu.value is None
    assert "not finite" in fvu.reason

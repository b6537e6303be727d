"""Other packages' numbers, recorded by running their own evaluation functions on this scene.

sae-lens 6.54.12, sae-bench 0.6.0 and 0.1.0 (get_sparsity_and_variance_metrics), dictionary-learning
0.1.0 (evaluation.evaluate), eai-sparsify 1.3.3 (SparseCoder.forward), each in an environment of its
own with torch 2.13.0, in float64, all tokens in one batch. Recorded on 2026-11-24 and 25;
`make test-peers` runs them again and writes benchmarks/results/peers.md.
"""

from __future__ import annotations

import pytest
import torch

from sae_core.code import SparseCode
from sae_core.metrics import metrics
from sae_core.metrics.token_metric import Reconstruction, Setting, sums_per_document
from tests.sae_core.metrics.tallies import subject, tallied

N, D = 64, 6
RECORDED = {
    "ev_sae_lens": 0.9715800082531967,
    "ev_legacy": 0.9714309822180988,
    "ev_sae_bench": 0.9905070259628029,
    "ev_dictionary_learning": 0.9874047996388216,
    "fvu_sparsify": 0.028419991746803378,
    "mse_sae_lens": 0.08499042393258824,
    "mse_sae_bench": 0.0013279753739466912,
    "l2_loss_dictionary_learning": 0.2873209451691974,
    "l2_ratio_sae_lens": 0.9466093073123958,
    "l1_sae_lens": 2.5866092642034806,
}
THE_SAME = {
    "l0": 4.203125,
    "cosine": 0.9988637841621615,
    "relative_reconstruction_bias": 0.9469165035942301,
}


def scene() -> tuple[torch.Tensor, torch.Tensor, SparseCode]:
    i = torch.arange(N, dtype=torch.float64)[:, None]
    j = torch.arange(D, dtype=torch.float64)[None]
    x = torch.sin(0.7 * i + 1.3 * j) + 0.5 * j
    x_hat = 0.9 * x + 0.05 * torch.cos(i + 2 * j) + 0.1
    values = torch.relu(torch.sin(i * torch.arange(1, 9)[None] * 0.37))
    return x, x_hat, SparseCode(torch.arange(8).expand(N, 8), values, 8)


def numbers(x: torch.Tensor, x_hat: torch.Tensor, code: SparseCode, batch: int = 17):
    of = subject(torch.ones(code.n_latents, x.shape[1]))
    center = x.mean(0)
    _, arrays = tallied("compatibility", of, code, x=x, x_hat=x_hat, center=center, batch=batch)
    return {k: m.value for k, m in metrics()["compatibility"].values(arrays).items()}


def same_numbers() -> dict[str, float]:
    """Our numbers of what the packages define as we do."""
    x, x_hat, code = scene()
    seen = Reconstruction(x, x_hat, code, torch.ones(code.n_latents, dtype=torch.float64), x[0])
    found = {}
    for name in THE_SAME:
        sums = sums_per_document(metrics()[name].per_token(seen), torch.zeros(N).long(), 1)
        found[name] = float(metrics()[name].values(sums.sum(0), Setting())[name])
    return found


def test_the_numbers_are_those_that_the_packages_give() -> None:
    assert numbers(*scene()) == pytest.approx(RECORDED, rel=1e-12)


def test_what_the_packages_define_as_we_do_is_the_same() -> None:
    assert same_numbers() == pytest.approx(THE_SAME, rel=1e-12)


def test_a_constant_error_is_seen_by_all_but_one() -> None:
    x, _, code = scene()
    found = numbers(x, x + 1, code)
    assert found["ev_dictionary_learning"] == pytest.approx(1.0)
    assert found["ev_sae_lens"] < 0


def test_the_mean_explains_nothing_but_where_the_formula_is_wrong() -> None:
    x, _, code = scene()
    found = numbers(x, x.mean(0).expand_as(x), code)
    assert found["ev_sae_lens"] == pytest.approx(0, abs=1e-12)
    assert found["ev_legacy"] == pytest.approx(0, abs=1e-12)
    assert found["ev_sae_bench"] > 0.5

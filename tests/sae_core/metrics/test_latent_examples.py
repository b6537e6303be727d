from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.sae_core.metrics.tallies import drawn_code, subject, tallied

N, K, F = 400, 3, 5


@pytest.mark.parametrize("batch", [37, 400])
def test_the_strongest_fires_are_kept_whatever_the_batches(batch: int) -> None:
    code = drawn_code(N, K, F)
    _, arrays = tallied("latent_examples", subject(torch.ones(F, 2)), code, batch=batch)
    dense = code.dense()
    for latent in range(F):
        order = dense[:, latent].argsort(descending=True, stable=True)[:5]
        assert arrays["top_place"][latent].tolist() == (order * 3).tolist()
        assert arrays["top_value"][latent].tolist() == dense[order, latent].tolist()
    assert arrays["n_tokens"] == N


def test_what_is_drawn_does_not_depend_on_batches_and_spreads_over_the_quantiles() -> None:
    code = drawn_code(4000, K, F)
    one, other = (
        tallied("latent_examples", subject(torch.ones(F, 2)), code, batch=batch)[1]
        for batch in (4000, 130)
    )
    for name, array in one.items():
        assert np.array_equal(array, other[name]), name
    dense = code.dense()
    for latent in range(F):
        fires = dense[:, latent][dense[:, latent] > 0]
        places = torch.from_numpy(one["quantile_place"][latent]) // 3
        values = dense[places, latent]
        assert values.tolist() == one["quantile_value"][latent].tolist()
        assert values.tolist() == sorted(values.tolist())
        reached = [(fires < value).float().mean().item() for value in values]
        assert reached == pytest.approx([0.25, 0.5, 0.75], abs=0.35)


def test_a_latent_that_never_fires_has_no_places() -> None:
    code = drawn_code(20, 1, 2)._replace(values=torch.zeros(20, 1))
    _, arrays = tallied("latent_examples", subject(torch.ones(2, 2)), code)
    assert set(arrays["top_place"].ravel()) == {-1}
    assert set(arrays["quantile_place"].ravel()) == {-1}

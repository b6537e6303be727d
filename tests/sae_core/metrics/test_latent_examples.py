from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_core.metrics.latent_examples import AFTER, BEFORE
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
    for name in ("top_place", "top_value", "quantile_place", "quantile_value", "n_tokens"):
        assert np.array_equal(one[name], other[name]), name
    dense = code.dense()
    for latent in range(F):
        fires = dense[:, latent][dense[:, latent] > 0]
        places = torch.from_numpy(one["quantile_place"][latent]) // 3
        values = dense[places, latent]
        assert values.tolist() == one["quantile_value"][latent].tolist()
        assert values.tolist() == sorted(values.tolist())
        reached = [(fires < value).float().mean().item() for value in values]
        assert reached == pytest.approx([0.25, 0.5, 0.75], abs=0.35)


@pytest.mark.parametrize("batch", [40, 400])
def test_around_each_place_are_the_activations_of_the_tokens_that_its_batch_holds(
    batch: int,
) -> None:
    code = drawn_code(N, K, F)
    _, arrays = tallied("latent_examples", subject(torch.ones(F, 2)), code, batch=batch)
    dense = code.dense()
    for kind in ("top", "quantile"):
        for latent, rank in np.ndindex(arrays[f"{kind}_place"].shape):
            place = int(arrays[f"{kind}_place"][latent, rank])
            first = place // 3 // batch * batch
            expected = [
                dense[at // 3, latent].item()
                if at % 3 == 0 and first <= at // 3 < min(first + batch, N)
                else np.nan
                for at in range(place - BEFORE, place + AFTER + 1)
            ]
            found = arrays[f"{kind}_window"][latent, rank]
            assert np.array_equal(found, np.float32(expected), equal_nan=True)
            assert found[BEFORE] == arrays[f"{kind}_value"][latent, rank]


def test_a_latent_that_never_fires_has_no_places() -> None:
    code = drawn_code(20, 1, 2)._replace(values=torch.zeros(20, 1))
    _, arrays = tallied("latent_examples", subject(torch.ones(2, 2)), code)
    assert set(arrays["top_place"].ravel()) == {-1}
    assert set(arrays["quantile_place"].ravel()) == {-1}
    assert np.isnan(arrays["top_window"]).all()
    assert np.isnan(arrays["quantile_window"]).all()

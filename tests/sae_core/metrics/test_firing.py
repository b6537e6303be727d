from __future__ import annotations

import numpy as np
import pytest

from sae_core.metrics import metrics
from sae_core.metrics.firing_metric import Firing

FIRING = Firing(
    n_fires=np.array([0, 1, 10, 20, 100, 900, 0, 0]),
    n_tokens=1000,
    l0_histogram=np.array([100, 400, 300, 100, 100]),
    dead_train=np.array([True, False, False, False, False, False, True, False]),
)


def values(name: str, firing: Firing = FIRING) -> dict[str, float | None]:
    return {key: found.value for key, found in metrics()[name].values(firing).items()}


def test_dead_latents_are_those_that_never_fired() -> None:
    assert values("dead_latents") == {"dead_eval": 3 / 8, "dead_train": 2 / 8}
    assert metrics()["dead_latents"].values(FIRING)["dead_eval"].n == 1000


def test_without_counters_dead_train_is_null() -> None:
    unknown = Firing(FIRING.n_fires, 1000, FIRING.l0_histogram, None)
    found = metrics()["dead_latents"].values(unknown)["dead_train"]
    assert found.value is None
    assert found.reason


def test_high_frequency_is_strictly_above_the_bound() -> None:
    found = values("high_frequency")
    assert found["latents_above_1pct"] == 3 / 8
    assert found["latents_above_10pct"] == 1 / 8
    assert found["fires_above_1pct"] == pytest.approx(1020 / 1031)
    assert found["fires_above_10pct"] == pytest.approx(900 / 1031)


def test_l0_quantiles_are_the_smallest_count_that_covers_the_share() -> None:
    assert values("l0_quantiles") == {"l0_p10": 0.0, "l0_p50": 1.0, "l0_p90": 3.0}


def test_l0_quantiles_agree_with_numpy_on_whole_positions() -> None:
    counts = np.random.default_rng(0).integers(0, 40, size=1001)
    firing = Firing(np.zeros(50, dtype=int), 1001, np.bincount(counts), None)
    found = values("l0_quantiles", firing)
    for percent in (10, 50, 90):
        expected = np.quantile(counts, percent / 100, method="inverted_cdf")
        assert found[f"l0_p{percent}"] == expected


def test_a_silent_sae_has_no_mass_anywhere() -> None:
    silent = Firing(np.zeros(4, dtype=int), 10, np.array([10]), None)
    assert set(values("high_frequency", silent).values()) == {0.0}
    assert values("dead_latents", silent)["dead_eval"] == 1.0

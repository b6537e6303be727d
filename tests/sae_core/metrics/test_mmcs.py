from __future__ import annotations

import pytest

from sae_core.metrics import metrics
from sae_core.metrics.match_metric import MatchSeen


def test_the_columns_average_their_own_kind_of_pair() -> None:
    seen = [
        MatchSeen("other_seed", 0.5, "trained", 0.2),
        MatchSeen("other_seed", 0.7, "trained", 0.4),
        MatchSeen("other_width", 0.1, "trained", 0.0),
        MatchSeen("other_weights", 0.3, "random", 0.1),
        MatchSeen("other_weights", 0.9, "random_except_embeddings", 0.9),
    ]
    found = metrics()["mmcs"].values("trained", seen)
    assert found["mmcs_other_seed"].value == pytest.approx(0.6)
    assert found["mmcs_other_seed"].n == 2
    half = 12.706 * 0.1  # s = 0.1 √2, over √2 others; t with one degree of freedom
    assert found["mmcs_other_seed"].ci_low == pytest.approx(0.6 - half)
    assert found["mmcs_other_seed"].ci_high == pytest.approx(0.6 + half)
    assert found["mmcs_random_twin"].ci_low is None
    assert found["mmcs_random_twin"].reason == "no interval: one of the twins, and it takes two"
    assert found["mmcs_random_twin"].value == pytest.approx(0.3)
    assert found["shared_other_seed"].value == pytest.approx(0.3)
    assert found["shared_random_twin"].value == pytest.approx(0.1)


def test_missing_matches_are_null_with_their_reason() -> None:
    trained = metrics()["mmcs"].values("trained", [])
    assert trained["mmcs_other_seed"].value is None
    assert "no other seed" in trained["mmcs_other_seed"].reason
    assert "no twin" in trained["mmcs_random_twin"].reason
    twin = [MatchSeen("other_weights", 0.3, "trained", 0.1)]
    random = metrics()["mmcs"].values("random", twin)["mmcs_random_twin"]
    assert random.value is None
    assert "trained weights only" in random.reason


def test_correlations_are_averaged_over_other_seeds_where_they_are_known() -> None:
    seen = [
        MatchSeen("other_seed", 0.5, "trained", 0.2, 0.25),
        MatchSeen("other_seed", 0.5, "trained", 0.2, 0.75),
        MatchSeen("other_seed", 0.5, "trained", 0.2, None),
        MatchSeen("other_width", 0.5, "trained", 0.2, 0.0),
    ]
    values = metrics()["activation_correlation"].values
    name = "activation_correlation_other_seed"
    assert (values("trained", seen)[name].value, values("trained", seen)[name].n) == (0.5, 2)
    assert "both vary" in values("trained", seen[2:])[name].reason
    assert "no other seed" in values("trained", seen[3:])[name].reason

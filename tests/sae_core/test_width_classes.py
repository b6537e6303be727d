from __future__ import annotations

import numpy as np
import pytest

from sae_core.width_classes import width_classes

NONE = np.nan


@pytest.mark.parametrize(
    ("cosine", "partner", "with_best", "rival", "with_rival", "expected"),
    [
        (0.8, 0.8, 1.0, NONE, NONE, "shared"),
        (0.9, 0.6, 1.0, 0.95, 0.8, "split"),
        (0.9, 0.6, 1.0, 0.8, 0.0, "split"),
        (0.9, NONE, NONE, NONE, NONE, "split"),
        (0.72, 0.1, 1.0, 0.95, 0.0, "absorbed"),
        (0.4, NONE, 0.95, 0.95, 0.05, "absorbed"),
        (0.4, NONE, 0.5, 0.95, 0.05, "novel"),
        (0.4, NONE, 0.95, 0.95, 0.5, "novel"),
        (0.2, NONE, 0.95, 0.95, 0.05, "novel"),
        (0.5, 0.5, NONE, NONE, NONE, "novel"),
    ],
)
def test_each_clause_of_the_rule_decides(cosine, partner, with_best, rival, with_rival, expected):
    columns = (np.array([value]) for value in (cosine, partner, with_best, rival, with_rival))
    assert width_classes(*columns).tolist() == [expected]

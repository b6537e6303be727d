from __future__ import annotations

import pytest

from pipeline.report.heat_map import over_seeds


def test_seeds_of_one_source_and_recipe_share_a_row() -> None:
    a, b = "lm.trained.mlp_out.2/top.s9", "lm.random.mlp_out.2/top.s9"
    values = {
        (f"{a}.s0", f"{a}.s1"): 0.8,
        (f"{a}.s1", f"{a}.s0"): 0.6,
        (f"{a}.s0", f"{b}.s0"): 0.2,
        (f"{a}.s1", f"{b}.s1"): 0.4,
    }
    found = over_seeds(values)
    assert found == {(a, a): pytest.approx(0.7), (a, b): pytest.approx(0.3)}

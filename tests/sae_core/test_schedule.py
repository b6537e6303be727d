from __future__ import annotations

import pytest

from sae_core.architectures import config_class
from sae_core.schedule import lr_factor


def factors(**fields: object) -> list[float]:
    config = config_class("relu")(n_latents=4, tokens=1000, **fields)
    return [lr_factor(config, seen=seen, n=10) for seen in range(0, 1000, 10)]


def test_it_rises_stays_and_falls_and_is_never_zero():
    found = factors(warmup_share=0.1, decay_share=0.2)
    assert found[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert found[10:80] == [1.0] * 70
    assert found[80:] == pytest.approx([1 - 0.05 * i for i in range(20)])
    assert min(found) > 0


def test_without_phases_it_is_constant():
    assert factors(warmup_share=0.0, decay_share=0.0) == [1.0] * 100

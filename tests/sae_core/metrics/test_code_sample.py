from __future__ import annotations

import numpy as np
import pytest

from sae_core.firing_together import CodeSample
from sae_core.metrics import code_sample
from tests.sae_core.metrics.tallies import drawn_code, drawn_dictionary, subject, tallied

N, F = 400, 20


@pytest.mark.parametrize("batch", [7, 10**9])
def test_a_sample_is_the_code_at_every_fourth_place(batch):
    code = drawn_code(N, 5, F)
    _, arrays = tallied("code_sample", subject(drawn_dictionary(F, 8)), code, batch=batch)
    sample, places = CodeSample.of(arrays), np.arange(N) * 3
    assert sample.places.tolist() == [place for place in places if place % 4 == 0]
    dense = np.zeros((len(sample.places), F))
    dense[sample.rows, sample.latents] = sample.values
    assert np.allclose(dense, code.dense().numpy()[places % 4 == 0])


def test_what_is_kept_is_bounded_and_nested(monkeypatch):
    monkeypatch.setattr(code_sample, "MOST", 100)
    of, code = subject(drawn_dictionary(F, 8)), drawn_code(N, 5, F)
    by_batch = [tallied("code_sample", of, code, batch=batch)[1] for batch in (9, 10**9)]
    for arrays in by_batch:
        assert 25 < len(arrays["latents"]) <= 100
    assert np.array_equal(by_batch[0]["places"], by_batch[1]["places"])
    monkeypatch.undo()
    whole = tallied("code_sample", of, code)[1]
    assert set(by_batch[0]["places"]) < set(whole["places"])

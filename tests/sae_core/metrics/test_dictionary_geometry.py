from __future__ import annotations

import pytest
import torch

from sae_core.metrics import metrics
from sae_core.metrics.dictionary_geometry import geometry
from tests.sae_core.metrics.tallies import drawn_code, drawn_dictionary, subject, tallied


@pytest.mark.parametrize("block", [1, 7, 64, 2048])
def test_blocks_give_what_all_cosines_give(block: int) -> None:
    rows = drawn_dictionary(50, 3).float()
    rows[9], rows[20] = -rows[4], rows[3]
    cosines = torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(rows).T
    others = cosines.clone().fill_diagonal_(-torch.inf)
    found = geometry(rows, block=block)
    assert torch.allclose(found.max_cosine, others.amax(1), atol=1e-6)
    assert torch.allclose(found.min_cosine, cosines.amin(1), atol=1e-6)
    assert (found.nearest[3], found.nearest[20]) == (20, 3)
    assert (found.most_opposing[9], found.most_opposing[4]) == (4, 9)
    upper = cosines.triu(1)
    assert found.pairs == ((upper < -0.7).sum(), (upper < -0.9).sum())


def test_opposing_latents_are_counted() -> None:
    """One pair at cosine −1, one at −0.8; a zero row opposes nothing."""
    rows = torch.tensor([[1.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -0.8, 0.6], [0, 0, 0]])
    _, arrays = tallied("dictionary_geometry", subject(rows), drawn_code(4, 2, 5))
    found = {k: m.value for k, m in metrics()["dictionary_geometry"].values(arrays).items()}
    assert found["opposing_pairs_70"] == 2
    assert found["opposing_pairs_90"] == 1
    assert found["opposing_latents_70"] == pytest.approx(4 / 5)
    assert found["opposing_latents_90"] == pytest.approx(2 / 5)
    assert found["nearest_cosine"] == pytest.approx((0 + 0 + 0 + 0 + 0) / 5)


def test_a_latent_alone_has_no_other() -> None:
    _, arrays = tallied("dictionary_geometry", subject(torch.ones(1, 3)), drawn_code(4, 1, 1))
    assert arrays["nearest"].tolist() == [-1]
    found = metrics()["dictionary_geometry"].values(arrays)
    assert {m.value for m in found.values()} == {None}
    assert {m.reason for m in found.values()} == {"it has one latent"}

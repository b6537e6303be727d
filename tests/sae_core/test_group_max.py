from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from sae_core.architectures import build, config_class
from sae_core.sae import Sae


def group_max(**fields: object) -> Sae:
    config = config_class("group_max")(**({"n_latents": 12, "tokens": 10, "k": 3} | fields))
    return build(config, width=12)


def test_one_latent_of_each_group_is_active_where_any_is_positive():
    sae = group_max()
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(12))
    x = torch.randn(200, 12, generator=torch.Generator().manual_seed(0))
    dense = sae.encode(x).dense()
    per_group = (dense > 0).view(200, 3, 4).sum(2)
    positive = (x > 0).view(200, 3, 4).any(2)
    assert torch.equal(per_group == 1, positive)
    assert torch.equal(dense.view(200, 3, 4).amax(2), x.view(200, 3, 4).amax(2).clamp(min=0))


def test_of_equal_latents_the_lower_is_active():
    sae = group_max()
    with torch.no_grad():
        sae.b_enc.copy_(torch.tensor([1.0, 2, 2, 0, -1, -1, -1, -1, 3, 3, 3, 3]))
    code = sae.encode(torch.zeros(2, 12))
    assert code.indices.tolist() == [[1, 0, 8]] * 2
    assert code.values.tolist() == [[2.0, 0.0, 3.0]] * 2


def test_groups_of_unequal_size_are_refused():
    with pytest.raises(
        ValidationError, match=r"k = 5 groups of n_latents = 12.*n_latents 10 or 15"
    ):
        group_max(k=5)
    with pytest.raises(ValidationError, match="Lower k or raise n_latents"):
        group_max(k=13)
    with pytest.raises(ValidationError, match="Remove k_anneal_share"):
        group_max(k_start_multiple=2.0, k_anneal_share=0.5)

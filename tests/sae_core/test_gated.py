from __future__ import annotations

import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.architectures.gated import to_jumprelu
from sae_core.checkpoint import sae_from_bytes, sae_to_bytes
from sae_core.sae import Sae
from sae_core.training_context import TrainingContext


def random_gated(seed: int, *, dtype: torch.dtype = torch.float64) -> Sae:
    generator = torch.Generator().manual_seed(seed)
    sae = build(config_class("gated")(n_latents=40, tokens=10), width=8)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        sae.input_scale.fill_(1.7)
    return sae.to(dtype)


def rows(n: int = 500) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(4))
def test_as_jumprelu_it_has_the_same_codes_and_reconstructions(seed):
    sae = random_gated(seed)
    twin = to_jumprelu(sae)
    raw = sae.b_mag - sae.r_mag.exp() * sae.b_enc
    assert (raw < 0).any()
    assert (raw > 0).any()
    x = rows()
    ours, theirs = sae.encode(x), twin.encode(x)
    assert torch.equal(ours.indices, theirs.indices)
    torch.testing.assert_close(ours.values, theirs.values)
    torch.testing.assert_close(sae(x), twin(x))


def test_latents_whose_negative_threshold_is_replaced_are_active_on_some_tokens():
    sae = random_gated(0)
    negative = sae.b_mag - sae.r_mag.exp() * sae.b_enc < 0
    fired = sae.encode(rows()).dense() > 0
    assert fired[:, negative].any()
    assert (~fired[:, negative]).any()


def test_the_twin_is_an_sae_like_any_other():
    twin = to_jumprelu(random_gated(0, dtype=torch.float32))
    loaded = sae_from_bytes(sae_to_bytes(twin))
    assert loaded.config.architecture == "jumprelu"
    assert loaded.config.n_latents == 40
    x = rows().float()
    assert torch.equal(loaded(x), twin(x))


def test_the_gates_reconstruction_does_not_train_the_decoder():
    """With all magnitudes off, what is left of the decoder's gradient is b_dec's own error."""
    sae = random_gated(0)
    with torch.no_grad():
        sae.b_mag.fill_(-100.0)
    context = TrainingContext(
        progress=1.0, tokens_seen=0, since_fired=torch.zeros(40), dead_window=9, total_variance=1.0
    )
    terms, _ = sae.losses(rows(), context)
    decoder, encoder = torch.autograd.grad(terms.total, (sae.W_dec, sae.W_enc))
    assert (decoder == 0).all()
    assert (encoder != 0).any()

"""SAEs as plain data: the same codes and reconstructions as the SAEs they were taken from."""

from __future__ import annotations

import pytest
import torch

from sae_core.architectures import build, config_class, names
from sae_core.plain import Gate, GroupMax, PlainSae, Relu, Threshold, TopK
from sae_core.plain_identities import as_relu, as_threshold, as_topk, recentred, uncentred
from sae_core.sae import Sae

D, F = 12, 40
NOT_PLAIN = {"switch", "crosscoder", "topk_crosscoder"}
OWN = {
    "end_to_end": {"batch_size": 64},
    "meta_sae": {"dictionary": "topk.s0"},
    "transcoder": {"write_site": "mlp_out"},
    "skip_transcoder": {"write_site": "mlp_out"},
    "crosscoder": {"sites": ("resid_post.0", "resid_post.1")},
    "topk_crosscoder": {"sites": ("resid_post.0", "resid_post.1")},
    "group_max": {"k": 5},
    "switch": {"n_experts": 4},
}


def random_sae(name: str, *, seed: int = 0) -> Sae:
    """An SAE of float64 with random parameters and scales; thresholds of any sign."""
    fields = {"architecture": name, "n_latents": F, "tokens": 1000} | OWN.get(name, {})
    own = config_class(name)
    if "k" in own.model_fields and "k" not in fields:
        fields["k"] = 5
    config = own(**fields)
    further = (10,) if config.inputs == "sites" else ()
    sae = build(config, width=D, further=further).double()
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in sae.parameters():
            drawn = torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
            parameter.copy_(drawn / 2)
        sae.input_scale.fill_(1.7)
        sae.written_scale.fill_(1.7 if config.inputs != "sites" else 0.6)
    sae.calibrate([activations(seed=9)])
    return sae


def activations(n: int = 64, *, width: int = D, seed: int = 1) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=draws, dtype=torch.float64) * 3 + 0.5


def alike(plain: PlainSae, sae: Sae, x: torch.Tensor) -> None:
    code = sae.encode(x)
    torch.testing.assert_close(plain.encode(x), code.dense(), rtol=1e-9, atol=1e-9)
    made = plain.reconstruct(x, plain.encode(x))
    torch.testing.assert_close(made, sae.reconstruct(x, code), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(names()) - NOT_PLAIN))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_plain_sae_has_the_codes_and_reconstructions_of_the_sae(name: str, seed: int) -> None:
    sae = random_sae(name, seed=seed)
    plain = sae.plain()
    assert plain is not None
    assert sae.encode(activations()).fired.any()
    alike(plain, sae, activations(seed=seed))


@pytest.mark.parametrize("name", sorted(NOT_PLAIN))
def test_an_sae_that_is_no_plain_one_says_why(name: str) -> None:
    sae = random_sae(name)
    assert sae.plain() is None
    assert sae.not_plain != Sae.not_plain


@pytest.mark.parametrize("name", ["relu", "relu_april", "topk", "jumprelu", "gated", "group_max"])
def test_where_b_dec_stands_changes_nothing(name: str) -> None:
    sae = random_sae(name)
    plain, x = sae.plain(), activations()
    assert not uncentred(plain).centred
    assert recentred(uncentred(plain)).centred
    alike(uncentred(plain), sae, x)
    alike(recentred(plain), sae, x)
    alike(recentred(uncentred(plain)), sae, x)


def test_b_dec_of_another_width_cannot_be_subtracted() -> None:
    with pytest.raises(ValueError, match="Allowed: equal widths"):
        recentred(random_sae("transcoder").plain())


@pytest.mark.parametrize("name", ["relu", "relu_april", "jumprelu", "gated", "batch_topk"])
def test_thresholds_say_the_same_for_every_rule_that_looks_at_one_latent(name: str) -> None:
    sae = random_sae(name)
    alike(as_threshold(sae.plain()), sae, activations())
    alike(as_threshold(uncentred(sae.plain())), sae, activations())


def test_relu_is_topk_with_every_latent_and_back() -> None:
    sae = random_sae("relu")
    alike(as_topk(sae.plain()), sae, activations())
    alike(as_relu(as_topk(sae.plain())), sae, activations())


def test_rules_that_are_not_one_another_are_not_rewritten() -> None:
    topk, group_max = random_sae("topk").plain(), random_sae("group_max").plain()
    jumprelu = random_sae("jumprelu").plain()
    assert [as_threshold(topk), as_relu(topk), as_topk(jumprelu)] == [None] * 3
    assert [as_threshold(group_max), as_topk(group_max), as_relu(jumprelu)] == [None] * 3


def test_rules_on_a_case_counted_by_hand() -> None:
    z = torch.tensor([[3.0, -1.0, 2.0, 1.0]])
    assert Relu().kept(z).tolist() == [[3, 0, 2, 1]]
    assert TopK(2).kept(z).tolist() == [[3, 0, 2, 0]]
    assert TopK(4).kept(z).tolist() == [[3, 0, 2, 1]]
    assert GroupMax(2).kept(z).tolist() == [[3, 0, 2, 0]]
    assert Threshold(torch.tensor([3.0, -5.0, 1.5, 0.0])).kept(z).tolist() == [[0, 0, 2, 1]]
    gate = Gate(torch.tensor([1.0] * 4), torch.zeros(4), torch.tensor([0.0, 9.0, -3.0, 1.0]))
    assert gate.kept(z).tolist() == [[2, 0, 0, 1]]

"""Small SAEs of every architecture with random parameters, for the tests of exchange."""

from __future__ import annotations

import torch

from sae_core.architectures import build, config_class, names
from sae_core.sae import Sae

D, F = 12, 40
OWN = {
    "end_to_end": {"batch_size": 64},
    "meta_sae": {"dictionary": "topk.s0"},
    "transcoder": {"write_site": "mlp_out"},
    "skip_transcoder": {"write_site": "mlp_out"},
    "crosscoder": {"sites": ("resid_post.0", "resid_post.1")},
    "topk_crosscoder": {"sites": ("resid_post.0", "resid_post.1")},
    "group_max": {"k": 5},
    "switch": {"n_experts": 4},
    "matryoshka": {"group_sizes": (10, 30)},
}
ALL = names()


def random_sae(name: str, *, seed: int = 0, written: int = D, **more: object) -> Sae:
    """An SAE with random parameters, unit decoder rows where it has such, and a scale."""
    fields = {"architecture": name, "n_latents": F, "tokens": 1000} | OWN.get(name, {}) | more
    own = config_class(name)
    if "k" in own.model_fields and "k" not in fields:
        fields["k"] = 5
    config = own(**fields)
    further = (written,) if config.inputs == "sites" else ()
    sae = build(config, width=D, further=further)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draws))
        if sae.unit_decoder:
            sae.W_dec.copy_(torch.nn.functional.normalize(sae.W_dec))
        sae.input_scale.fill_(1.7)
        sae.written_scale.fill_(1.7 if config.inputs != "sites" else 0.6)
    sae.calibrate([activations(seed=9)])
    return sae


def activations(n: int = 64, *, width: int = D, seed: int = 1) -> torch.Tensor:
    """Rows of size about sqrt(d), so that 1e-5 is a hundred roundings of float32."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=draws) + 0.2


def both(sae: Sae, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dense codes and reconstructions of an SAE of ours."""
    with torch.no_grad():
        code = sae.encode(x)
        return code.dense(), sae.reconstruct(x, code)

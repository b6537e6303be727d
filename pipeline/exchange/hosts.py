"""The architecture of ours that an SAE from elsewhere is: same rule, same maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pipeline.errors import ExchangeError
from pipeline.exchange.foreign import Foreign
from sae_core.architectures import build, config_class
from sae_core.plain import Gate, GroupMax, PlainSae, Relu, Threshold, TopK
from sae_core.plain_identities import as_topk, recentred, uncentred
from sae_core.sae import Sae

UNKNOWN_TOKENS = 1  # a recipe must name a budget; what is not known is said in `imported`


def own_sae(foreign: Foreign, *, write_site: str | None = None, scale: float = 1.0) -> Sae:
    """The SAE of ours with the same codes and reconstructions; our own are given back as they are.

    `write_site` makes it a transcoder to that site. `scale`: s of the source, in which units
    biases and thresholds are kept inside. Raises ExchangeError where no architecture fits.
    """
    if foreign.sae is not None:
        return foreign.sae
    assert foreign.plain is not None
    plain = foreign.plain
    _check_sites(foreign, plain, write_site)
    fields = _fields(plain, write_site)
    tokens = foreign.tokens or UNKNOWN_TOKENS
    own = config_class(fields["architecture"])
    config = own(**fields, n_latents=plain.n_latents, tokens=tokens)
    further = (plain.written_width,) if write_site else ()
    sae = build(config, width=plain.width, further=further)
    _fill(sae, _as_hosted(plain, sae), scale)
    return sae


def _check_sites(foreign: Foreign, plain: PlainSae, write_site: str | None) -> None:
    is_transcoder = foreign.is_transcoder
    if (write_site or is_transcoder) and (plain.per_token or as_topk(plain) is None):
        mend = "" if is_transcoder else " Without --write-site it is taken as an SAE."
        raise ExchangeError(
            f"a transcoder with {type(plain.rule).__name__.lower()} latents has no counterpart "
            f"here. Allowed: the k largest, or ReLU.{mend}"
        )
    if is_transcoder and write_site is None:
        raise ExchangeError(
            f"it reads {plain.width} dimensions and writes {plain.written_width}"
            f"{' with a linear skip' if plain.W_skip is not None else ''}, and is a transcoder by "
            f"its files ({foreign.architecture}). Say which site it reconstructs: --write-site "
            "mlp_out."
        )


def _fields(plain: PlainSae, write_site: str | None) -> dict[str, Any]:
    """The architecture's name, and the fields of its configuration that the SAE fixes."""
    rule = plain.rule
    if write_site:
        name = "transcoder" if plain.W_skip is None else "skip_transcoder"
        made = as_topk(plain)
        assert made is not None
        assert isinstance(made.rule, TopK)
        return {"architecture": name, "write_site": write_site, "k": made.rule.k}
    if isinstance(rule, TopK):
        return {"architecture": "topk_token_norm" if plain.per_token else "topk", "k": rule.k}
    if isinstance(rule, GroupMax):
        return {"architecture": "group_max", "k": rule.k}
    if isinstance(rule, Relu):
        return {"architecture": "relu" if plain.centred else "relu_april"}
    if isinstance(rule, Gate):
        return {"architecture": "gated"}
    if rule.k is None or bool((rule.theta != rule.theta[0]).any()):
        return {"architecture": "jumprelu"}
    if plain.groups and len(plain.groups) > 0 and plain.n_latents > 1:
        return {"architecture": "matryoshka", "k": rule.k, "group_sizes": plain.groups}
    return {"architecture": "batch_topk", "k": rule.k}


def _as_hosted(plain: PlainSae, sae: Sae) -> PlainSae:
    """The same with b_dec where the architecture has it, and the rule that it has."""
    placed = recentred(plain) if sae.subtracts_bias else uncentred(plain)
    return as_topk(placed) or placed if "k" in type(sae.config).model_fields else placed


@torch.no_grad()
def _fill(sae: Sae, plain: PlainSae, scale: float) -> None:
    sae.input_scale.fill_(scale)
    sae.written_scale.fill_(scale)
    unit = 1.0 if plain.per_token else scale
    values = {
        "W_enc": plain.W_enc,
        "b_enc": plain.b_enc * unit,
        "W_dec": plain.W_dec,
        "b_dec": plain.b_dec * unit,
        **_of_rule(sae, plain, unit),
    }
    if plain.W_skip is not None:
        values["W_skip"] = plain.W_skip
    state = dict(sae.state_dict())
    for name, value in values.items():
        state[name].copy_(value)


def _of_rule(sae: Sae, plain: PlainSae, unit: float) -> Mapping[str, torch.Tensor]:
    rule = plain.rule
    if isinstance(rule, Gate):
        more = rule.log_gain.exp() * (plain.b_enc - rule.bias)
        return {"r_mag": rule.log_gain, "b_mag": (rule.magnitude_bias + more) * unit}
    if not isinstance(rule, Threshold):
        return {}
    one_for_all = sae.state_dict()["threshold"].ndim == 0
    return {"threshold": (rule.theta[0] if one_for_all else rule.theta) * unit}

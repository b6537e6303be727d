"""OpenAI's sparse_autoencoder: one pickled state_dict in a .pt file; read, not written.

pre_bias (d,) is subtracted and added back, latent_bias (f,), encoder.weight (f, d), decoder.weight
(d, f). `activation` names the rule; with TopK (`activation_state_dict` {k, postact_fn}) each token
is normalised first: its mean subtracted, divided by its unbiased standard deviation + 1e-5, both
given back to the reconstruction. With ReLU nothing is normalised.
Reference: openai/sparse_autoencoder (2024), model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ExchangeError
from pipeline.exchange.foreign import Foreign, Tensors, read_pickled
from sae_core.plain import PlainSae, Relu, Rule, TopK

PACKAGE, VERSION = "openai/sparse_autoencoder", "4965b94"
_TOPK, _RELU = "TopK", "ReLU"


def recognises(place: Path) -> bool:
    """Whether it is a .pt file, or a folder with one that is no other format's."""
    return _file(place) is not None


def read(place: Path) -> Foreign:
    """The SAE of a file or folder; raises ExchangeError for what this package does not have."""
    path = _file(place)
    assert path is not None
    state = read_pickled(path)
    tensors, name = Tensors(state, path), state.get("activation", _RELU)
    W_enc = tensors.take("encoder.weight", None, None)
    f, d = W_enc.shape
    plain = PlainSae(
        W_enc,
        tensors.take("latent_bias", f),
        tensors.take("decoder.weight", d, f).T.contiguous(),
        tensors.take("pre_bias", d),
        _rule(name, state, path),
        per_token=name == _TOPK,
    )
    settings = {"activation": name, "activation_state_dict": _plain_values(state)}
    return Foreign("openai", f"{PACKAGE} {VERSION}", name, settings, plain=plain)


def _file(place: Path) -> Path | None:
    if place.is_file():
        return place if place.suffix == ".pt" else None
    found = [path for path in place.glob("*.pt") if path.name != "ae.pt"]
    return found[0] if len(found) == 1 else None


def _rule(name: str, state: Mapping[str, Any], path: Path) -> Rule:
    inner = state.get("activation_state_dict") or {}
    if name == _RELU:
        return Relu()
    if name != _TOPK or inner.get("postact_fn", _RELU) != _RELU:
        given = name if name != _TOPK else f"TopK followed by {inner['postact_fn']}"
        raise ExchangeError(
            f"{path}: activation {given} has no counterpart here. Allowed: ReLU, and TopK followed "
            "by ReLU. Import an SAE of one of these."
        )
    if "k" not in inner:
        raise ExchangeError(f"{path}: activation_state_dict lacks k. Save the SAE again.")
    return TopK(int(inner["k"]))


def _plain_values(state: Mapping[str, Any]) -> dict[str, Any]:
    inner = state.get("activation_state_dict") or {}
    return {key: value for key, value in inner.items() if isinstance(value, int | str)}

"""SAELens: a folder with cfg.json and sae_weights.safetensors.

Weights are (d, f) for the encoder and (f, d) for the decoder; `apply_b_dec_to_input` says whether
b_dec is subtracted; a JumpReLU latent is active where z > threshold and z > 0. BatchTopK and
Matryoshka SAEs are saved as `jumprelu` for inference; in training checkpoints they carry one
`topk_threshold` (float64). With `rescale_acts_by_decoder_norm` z and activations are in units of
the decoder rows' norms. `normalize_activations: layer_norm` normalises each token with the unbiased
standard deviation + 1e-5. Transcoders must not subtract b_dec, have `d_out`, and there is none with
TopK. `metadata` keeps any further key, which is where our provenance goes.
Reference: SAELens 6.54.12, its source as published on PyPI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ExchangeError
from pipeline.exchange.cannot_hold import CannotHold
from pipeline.exchange.foreign import (
    About,
    Foreign,
    Tensors,
    read_json,
    read_safetensors,
    setting,
    writes_elsewhere,
)
from sae_core.plain import Gate, GroupMax, PlainSae, Relu, Rule, Threshold, TopK
from sae_core.plain_identities import as_relu, as_threshold

PACKAGE, VERSION = "sae-lens", "6.54.12"
LOADS = ("from sae_lens import SAE", "sae = SAE.load_from_disk(folder)")
_CONFIG, _WEIGHTS = "cfg.json", "sae_weights.safetensors"
_SCALER = "activation_scaler.json"
_HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_act": "mlp.hook_post",
}
_BATCH = ("batchtopk", "matryoshka_batchtopk")
_TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
_READ = ("standard", "topk", "jumprelu", "gated", *_BATCH, *_TRANSCODERS)


def fitted(plain: PlainSae) -> PlainSae:
    """The exact rewriting that SAELens holds; raises CannotHold where there is none."""
    if plain.per_token and not isinstance(plain.rule, TopK):
        raise CannotHold("SAELens normalises tokens one by one for TopK SAEs as they are here only")
    if isinstance(plain.rule, GroupMax):
        raise CannotHold(
            "SAELens has no rule that keeps the largest latent of each group", (TopK, Threshold)
        )
    if plain.W_skip is None and plain.width == plain.written_width:
        return plain
    relu, threshold = as_relu(plain), as_threshold(plain)
    if relu is None and threshold is None:
        raise CannotHold(
            "SAELens has transcoders with ReLU and with thresholds, none with the k largest",
            (Threshold,),
        )
    return relu or threshold


def files(plain: PlainSae, about: About) -> dict[str, bytes]:
    """cfg.json and sae_weights.safetensors of a plain SAE that `fitted` gave."""
    from safetensors.torch import save

    tensors = {
        "W_enc": plain.W_enc.T,
        "b_enc": plain.b_enc,
        "W_dec": plain.W_dec,
        "b_dec": plain.b_dec,
    }
    rule = plain.rule
    if isinstance(rule, Threshold):
        tensors["threshold"] = rule.theta
    if isinstance(rule, Gate):
        gain = rule.log_gain.exp()
        tensors["b_gate"] = tensors.pop("b_enc")
        tensors["b_mag"] = rule.magnitude_bias + gain * (plain.b_enc - rule.bias)
        tensors["r_mag"] = rule.log_gain
    if plain.W_skip is not None:
        tensors["W_skip"] = plain.W_skip.T
    weights = save({name: t.float().contiguous() for name, t in tensors.items()})
    config = json.dumps(_config(plain, about), indent=2)
    return {_CONFIG: config.encode(), _WEIGHTS: weights}


def recognises(place: Path) -> bool:
    """Whether a folder holds such files."""
    return (place / _CONFIG).is_file() and (place / _WEIGHTS).is_file()


def read(place: Path) -> Foreign:
    """The SAE of a folder; raises ExchangeError for what this package does not have."""
    path = place / _CONFIG
    config = read_json(path)
    metadata = config.get("metadata") or {}
    if "sae_lens_version" not in metadata:
        raise ExchangeError(
            f"{path} was written by SAELens before 6.0, whose settings had other names. Load it "
            "with SAELens 6 and save it again: SAE.load_from_disk(folder).save_model(other)."
        )
    architecture = setting(config, "architecture", path)
    _check_known(architecture, config, path)
    tensors = Tensors(read_safetensors(place / _WEIGHTS), place / _WEIGHTS)
    plain = _plain(architecture, config, tensors, path)
    plain = _unscaled(plain, config, place)
    notes = []
    if config.get("dtype", "float32") != "float32":
        notes.append(f"its weights are {config['dtype']}; here they are float32 of the same values")
    version = f"{PACKAGE} {metadata['sae_lens_version']}"
    elsewhere = writes_elsewhere(
        metadata.get("sae_foundry"), otherwise="transcoder" in architecture
    )
    return Foreign(
        "saelens",
        version,
        architecture,
        config,
        plain=plain,
        notes=tuple(notes),
        writes_elsewhere=elsewhere,
    )


def _config(plain: PlainSae, about: About) -> dict[str, Any]:
    rule, config = plain.rule, {}
    name = {Relu: "standard", TopK: "topk", Threshold: "jumprelu", Gate: "gated"}[type(rule)]
    if plain.W_skip is not None or plain.width != plain.written_width:
        middle = "_skip" if plain.W_skip is not None else ""
        first = "jumprelu" if isinstance(rule, Threshold) else ""
        name = f"{first}{middle}_transcoder".removeprefix("_")
        config["d_out"] = plain.written_width
    if isinstance(rule, TopK):
        config |= {"k": rule.k, "rescale_acts_by_decoder_norm": False}
    hook = about.kind and f"blocks.{about.layer}.{_HOOKS[about.kind]}"
    return config | {
        "architecture": name,
        "d_in": plain.width,
        "d_sae": plain.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": plain.centred,
        "normalize_activations": "layer_norm" if plain.per_token else "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": VERSION,
            "sae_lens_training_version": None,
            "model_name": about.model,
            "hook_name": hook,
            "hook_head_index": None,
            "context_size": about.context,
            "dataset_path": about.corpus,
            "prepend_bos": False,
            "sae_foundry": dict(about.provenance) | {"k": about.k},
        },
    }


def _check_known(architecture: str, config: Mapping[str, Any], path: Path) -> None:
    if architecture not in _READ:
        raise ExchangeError(
            f"{path}: architecture {architecture!r} has no counterpart here. Allowed: "
            f"{', '.join(_READ)}. Import an SAE of one of these."
        )
    if config.get("reshape_activations", "none") != "none":
        raise ExchangeError(
            f"{path}: reshape_activations {config['reshape_activations']!r}: it reads attention "
            "heads before they are mixed, where no site is here. Allowed: 'none'."
        )
    normalised = config.get("normalize_activations", "none")
    fits = architecture == "topk" if normalised == "layer_norm" else True
    if normalised not in ("none", "expected_average_only_in", "layer_norm") or not fits:
        raise ExchangeError(
            f"{path}: normalize_activations {normalised!r} with architecture {architecture!r} has "
            "no counterpart here. Allowed: 'none', 'expected_average_only_in' beside its "
            f"{_SCALER}, and 'layer_norm' with topk. Fold it into the weights with SAELens."
        )


def _plain(architecture: str, config: Mapping[str, Any], tensors: Tensors, path: Path) -> PlainSae:
    d, f = setting(config, "d_in", path), setting(config, "d_sae", path)
    written = setting(config, "d_out", path) if architecture in _TRANSCODERS else d
    centred = config.get("apply_b_dec_to_input", True) and architecture not in _TRANSCODERS
    W_enc, W_dec = tensors.take("W_enc", d, f).T.contiguous(), tensors.take("W_dec", f, written)
    b_enc = tensors.take("b_gate" if architecture == "gated" else "b_enc", f)
    plain = PlainSae(
        W_enc,
        b_enc,
        W_dec,
        tensors.take("b_dec", written),
        _rule(architecture, config, tensors, b_enc, path),
        centred=bool(centred),
        W_skip=tensors.take("W_skip", written, d).T.contiguous()
        if "skip" in architecture
        else None,
        per_token=config.get("normalize_activations") == "layer_norm",
    )
    return _norms_folded(plain) if config.get("rescale_acts_by_decoder_norm") else plain


def _rule(
    architecture: str,
    config: Mapping[str, Any],
    tensors: Tensors,
    b_enc: torch.Tensor,
    path: Path,
) -> Rule:
    f = len(b_enc)
    if architecture == "topk":
        return TopK(int(setting(config, "k", path)))
    if architecture == "gated":
        return Gate(b_enc, tensors.take("r_mag", f), tensors.take("b_mag", f))
    if "jumprelu" in architecture:
        ours = config["metadata"].get("sae_foundry") or {}
        return Threshold(tensors.take("threshold", f).clamp(min=0), ours.get("k"))
    if architecture in _BATCH:
        k, theta = float(setting(config, "k", path)), tensors.take("topk_threshold")
        return Threshold(theta.expand(f).clone(), int(k) if k == int(k) else None)
    return Relu()


def _norms_folded(plain: PlainSae) -> PlainSae:
    """The same in units of the decoder rows' norms, with unit rows."""
    norms = plain.W_dec.norm(dim=1)
    return replace(
        plain,
        W_enc=plain.W_enc * norms.unsqueeze(1),
        b_enc=plain.b_enc * norms,
        W_dec=plain.W_dec / norms.unsqueeze(1),
    )


def _unscaled(plain: PlainSae, config: Mapping[str, Any], place: Path) -> PlainSae:
    """The same with the scale of a training checkpoint's inputs folded in."""
    if config.get("normalize_activations", "none") != "expected_average_only_in":
        return plain
    path = place / _SCALER
    if not path.is_file():
        raise ExchangeError(
            f"{place / _CONFIG}: normalize_activations 'expected_average_only_in' and no {_SCALER} "
            "beside it: by which number inputs are scaled cannot be told. Save the SAE for "
            "inference with SAELens, which folds it in."
        )
    s = float(setting(read_json(path), "scaling_factor", path))
    return replace(plain, W_enc=plain.W_enc * s, W_dec=plain.W_dec / s, b_dec=plain.b_dec / s)

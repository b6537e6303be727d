"""dictionary_learning: a folder with config.json and ae.pt, a pickled state_dict.

`config.json` {"trainer": {…}, "buffer": {…}}; trainer.dict_class names the class. AutoEncoder is
ReLU with b_dec subtracted, whose loader makes decoder rows unit vectors (other codes, same
reconstructions), AutoEncoderNew ReLU without. AutoEncoderTopK and BatchTopKSAE hold `k` (int32) and
one `threshold`, −1 where it was never set: then BatchTopKSAE keeps every latent above 0.
JumpReluAutoEncoder does not subtract b_dec. Their input scale is folded into biases and thresholds
when they save, as here: activations are in raw units. Further keys of config.json are kept.
Reference: dictionary-learning 0.1.0, its source as published on PyPI.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch

from pipeline.errors import ExchangeError
from pipeline.exchange.cannot_hold import CannotHold
from pipeline.exchange.foreign import (
    About,
    Foreign,
    Tensors,
    read_json,
    read_pickled,
    setting,
    writes_elsewhere,
)
from sae_core.plain import Gate, GroupMax, PlainSae, Relu, Threshold, TopK
from sae_core.plain_identities import recentred, uncentred

PACKAGE, VERSION = "dictionary-learning", "0.1.0"
LOADS = (
    "from dictionary_learning.utils import load_dictionary",
    'sae, config = load_dictionary(folder, device="cpu")',
)
_CONFIG, _WEIGHTS = "config.json", "ae.pt"
_LINEAR = ("AutoEncoder", "AutoEncoderNew", "AutoEncoderTopK", "BatchTopKSAE", "GatedAutoEncoder")
_READ = (*_LINEAR, "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder")


def fitted(plain: PlainSae) -> PlainSae:
    """The exact rewriting that dictionary_learning holds; raises CannotHold where there is none."""
    if plain.per_token:
        raise CannotHold("dictionary_learning has no SAE that normalises tokens one by one")
    if plain.W_skip is not None or plain.width != plain.written_width:
        raise CannotHold(
            "dictionary_learning has one width for what is read and written, and no linear skip"
        )
    if isinstance(plain.rule, GroupMax):
        raise CannotHold(
            "dictionary_learning has no rule that keeps the largest latent of each group",
            (TopK, Threshold),
        )
    name = _class_of(plain)
    return (
        uncentred(plain) if name in ("AutoEncoderNew", "JumpReluAutoEncoder") else recentred(plain)
    )


def files(plain: PlainSae, about: About) -> dict[str, bytes]:
    """config.json and ae.pt of a plain SAE that `fitted` gave."""
    name, buffer = _class_of(plain), io.BytesIO()
    torch.save({key: t.contiguous() for key, t in _state(name, plain).items()}, buffer)
    trainer = {
        "trainer_class": "sae_foundry",
        "dict_class": name,
        "activation_dim": plain.width,
        "dict_size": plain.n_latents,
        "layer": about.layer,
        "lm_name": about.model or "unknown",
        "submodule_name": about.kind and f"{about.kind}_layer_{about.layer}",
        "lr": about.lr,
        "steps": about.steps,
        "seed": about.seed,
        "device": "cpu",
        "wandb_name": str(about.provenance.get("sae", "sae")),
    }
    k = getattr(plain.rule, "k", None)
    config = {
        "trainer": trainer | ({} if k is None else {"k": k}),
        "buffer": {"d_submodule": plain.width, "io": "out", "ctx_len": about.context},
        "sae_foundry": dict(about.provenance) | {"k": about.k},
    }
    return {_CONFIG: json.dumps(config, indent=2).encode(), _WEIGHTS: buffer.getvalue()}


def recognises(place: Path) -> bool:
    """Whether a folder holds such files."""
    return (place / _CONFIG).is_file() and (place / _WEIGHTS).is_file()


def read(place: Path) -> Foreign:
    """The SAE of a folder; raises ExchangeError for what this package does not have."""
    path = place / _CONFIG
    config = read_json(path)
    trainer = setting(config, "trainer", path)
    name = setting(trainer, "dict_class", path)
    if name not in _READ:
        raise ExchangeError(
            f"{path}: dict_class {name!r} has no counterpart here. Allowed: {', '.join(_READ)}. "
            "Import an SAE of one of these."
        )
    tensors = Tensors(read_pickled(place / _WEIGHTS), place / _WEIGHTS)
    plain = _linear(name, tensors) if name in _LINEAR else _matrices(name, tensors)
    notes = []
    if isinstance(plain.rule, Threshold) and "group" not in name and _never_set(name, tensors):
        notes.append(
            "its threshold was never set: as in dictionary_learning, every latent above 0 is active"
        )
    if name == "AutoEncoder":
        notes.append(
            "its own loader makes decoder rows unit vectors, which scales codes; here they are as "
            "they lie in the file"
        )
    return Foreign(
        "dictionary_learning",
        f"{PACKAGE} {VERSION}",
        name,
        config,
        plain=plain,
        notes=tuple(notes),
        writes_elsewhere=writes_elsewhere(config.get("sae_foundry"), otherwise=False),
    )


def _class_of(plain: PlainSae) -> str:
    rule = plain.rule
    if isinstance(rule, TopK):
        return "AutoEncoderTopK"
    if isinstance(rule, Gate):
        return "GatedAutoEncoder"
    if isinstance(rule, Relu):
        norms = plain.W_dec.norm(dim=1)
        is_unit = torch.allclose(norms, torch.ones_like(norms))
        return "AutoEncoder" if plain.centred and is_unit else "AutoEncoderNew"
    assert isinstance(rule, Threshold)
    if not plain.centred or rule.k is None or bool((rule.theta != rule.theta[0]).any()):
        return "JumpReluAutoEncoder"
    return "MatryoshkaBatchTopKSAE" if plain.groups else "BatchTopKSAE"


def _state(name: str, plain: PlainSae) -> dict[str, torch.Tensor]:
    rule = plain.rule
    k = {"k": torch.tensor(getattr(rule, "k", None) or 0, dtype=torch.int)}
    theta = {"threshold": rule.theta[0].clone()} if isinstance(rule, Threshold) else {}
    if name in _LINEAR:
        bias = {
            "AutoEncoder": "bias",
            "AutoEncoderNew": "decoder.bias",
            "GatedAutoEncoder": "decoder_bias",
        }.get(name, "b_dec")
        state = {
            "encoder.weight": plain.W_enc,
            "decoder.weight": plain.W_dec.T,
            bias: plain.b_dec,
        }
        if isinstance(rule, Gate):
            more = rule.log_gain.exp() * (plain.b_enc - rule.bias)
            gate = {"gate_bias": plain.b_enc, "mag_bias": rule.magnitude_bias + more}
            return state | gate | {"r_mag": rule.log_gain}
        state["encoder.bias"] = plain.b_enc
        if name == "AutoEncoderTopK":
            return state | k | {"threshold": torch.tensor(-1.0)}
        return state | k | theta if name == "BatchTopKSAE" else state
    matrices = {
        "W_enc": plain.W_enc.T,
        "b_enc": plain.b_enc,
        "W_dec": plain.W_dec,
        "b_dec": plain.b_dec,
    }
    if name == "JumpReluAutoEncoder":
        return matrices | {"threshold": rule.theta}
    return matrices | k | theta | {"group_sizes": torch.tensor(plain.groups)}


def _linear(name: str, tensors: Tensors) -> PlainSae:
    W_enc = tensors.take("encoder.weight", None, None)
    f, d = W_enc.shape
    W_dec = tensors.take("decoder.weight", d, f).T.contiguous()
    if name == "GatedAutoEncoder":
        gate = tensors.take("gate_bias", f)
        rule = Gate(gate, tensors.take("r_mag", f), tensors.take("mag_bias", f))
        return PlainSae(W_enc, gate, W_dec, tensors.take("decoder_bias", d), rule)
    b_enc = tensors.take("encoder.bias", f)
    if name == "AutoEncoder":
        return PlainSae(W_enc, b_enc, W_dec, tensors.take("bias", d), Relu())
    if name == "AutoEncoderNew":
        b_dec = tensors.take("decoder.bias", d)
        return PlainSae(W_enc, b_enc, W_dec, b_dec, Relu(), centred=False)
    b_dec, k = tensors.take("b_dec", d), int(tensors.take("k"))
    rule = TopK(k) if name == "AutoEncoderTopK" else _one_threshold(tensors, f, k)
    return PlainSae(W_enc, b_enc, W_dec, b_dec, rule)


def _matrices(name: str, tensors: Tensors) -> PlainSae:
    W_enc = tensors.take("W_enc", None, None).T.contiguous()
    f, d = W_enc.shape
    maps = (
        W_enc,
        tensors.take("b_enc", f),
        tensors.take("W_dec", f, d),
        tensors.take("b_dec", d),
    )
    if name == "JumpReluAutoEncoder":
        return PlainSae(*maps, Threshold(tensors.take("threshold", f).clamp(min=0)), centred=False)
    rule = _one_threshold(tensors, f, int(tensors.take("k")))
    sizes = tensors.take("group_sizes", None).int().tolist()
    return PlainSae(*maps, rule, groups=tuple(sizes))


def _one_threshold(tensors: Tensors, f: int, k: int) -> Threshold:
    return Threshold(tensors.take("threshold").clamp(min=0).expand(f).clone(), k)


def _never_set(name: str, tensors: Tensors) -> bool:
    return (
        name in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE") and float(tensors.take("threshold")) < 0
    )

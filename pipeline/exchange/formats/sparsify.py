"""sparsify: a folder with cfg.json and sae.safetensors.

Both weight matrices are (f, d): encoder.weight and W_dec; b_dec is subtracted unless `transcode`;
the k largest of ReLU(z) are kept, or with activation `groupmax` the largest of each of k groups. A
transcoder writes as many dimensions as it reads; W_skip is (d_out, d_in). There are no thresholds.
The loader leaves out keys of cfg.json that it does not know, which is where our provenance goes.
SAELens's own loader of this format takes W_dec transposed and does not subtract b_dec: read it here
and write it for SAELens instead.
Reference: eai-sparsify 1.3.3, its source as published on PyPI.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from sae_core.plain import GroupMax, PlainSae, TopK
from sae_core.plain_identities import as_topk

PACKAGE, VERSION = "eai-sparsify", "1.3.3"
LOADS = ("from sparsify import SparseCoder", "sae = SparseCoder.load_from_disk(folder)")
_CONFIG, _WEIGHTS = "cfg.json", "sae.safetensors"
_ACTIVATIONS = {"topk": TopK, "groupmax": GroupMax}


def fitted(plain: PlainSae) -> PlainSae:
    """The exact rewriting that sparsify holds; raises CannotHold where there is none."""
    if plain.per_token:
        raise CannotHold("sparsify has no SAE that normalises tokens one by one")
    if plain.width != plain.written_width:
        raise CannotHold("sparsify has one width for what is read and written")
    if isinstance(plain.rule, GroupMax):
        return plain
    made = as_topk(plain)
    if made is None:
        raise CannotHold("sparsify keeps a fixed number of latents and has no thresholds", (TopK,))
    return made


def files(plain: PlainSae, about: About) -> dict[str, bytes]:
    """cfg.json and sae.safetensors of a plain SAE that `fitted` gave."""
    from safetensors.torch import save

    tensors = {
        "W_dec": plain.W_dec,
        "b_dec": plain.b_dec,
        "encoder.bias": plain.b_enc,
        "encoder.weight": plain.W_enc,
    }
    if plain.W_skip is not None:
        tensors["W_skip"] = plain.W_skip.T
    rule = plain.rule
    assert isinstance(rule, TopK | GroupMax)
    config: dict[str, Any] = {
        "activation": "groupmax" if isinstance(rule, GroupMax) else "topk",
        "expansion_factor": max(1, plain.n_latents // plain.width),
        "normalize_decoder": True,
        "num_latents": plain.n_latents,
        "k": rule.k,
        "multi_topk": False,
        "skip_connection": plain.W_skip is not None,
        "transcode": not plain.centred,
        "d_in": plain.width,
        "sae_foundry": dict(about.provenance),
    }
    weights = save({name: t.float().contiguous() for name, t in tensors.items()})
    return {_CONFIG: json.dumps(config, indent=2).encode(), _WEIGHTS: weights}


def recognises(place: Path) -> bool:
    """Whether a folder holds such files."""
    return (place / _CONFIG).is_file() and (place / _WEIGHTS).is_file()


def read(place: Path) -> Foreign:
    """The SAE of a folder; raises ExchangeError for what this package does not have."""
    path = place / _CONFIG
    config = read_json(path)
    name = config.get("activation", "topk")
    if name not in _ACTIVATIONS or config.get("signed"):
        given = "signed values" if config.get("signed") else f"activation {name!r}"
        raise ExchangeError(
            f"{path}: {given}: it has no counterpart here. Allowed: activations "
            f"{', '.join(_ACTIVATIONS)}, not signed. Import an SAE of one of these."
        )
    d, k = setting(config, "d_in", path), int(setting(config, "k", path))
    tensors = Tensors(read_safetensors(place / _WEIGHTS), place / _WEIGHTS)
    W_enc = tensors.take("encoder.weight", config.get("num_latents") or None, d)
    f = len(W_enc)
    skip = tensors.take("W_skip", d, d).T.contiguous() if config.get("skip_connection") else None
    plain = PlainSae(
        W_enc,
        tensors.take("encoder.bias", f),
        tensors.take("W_dec", f, d),
        tensors.take("b_dec", d),
        _ACTIVATIONS[name](k),
        centred=not config.get("transcode", False),
        W_skip=skip,
    )
    kind = " transcoder" if config.get("transcode") else ""
    kind = f"{kind} with a skip" if skip is not None else kind
    elsewhere = writes_elsewhere(
        config.get("sae_foundry"), otherwise=bool(config.get("transcode", False))
    )
    return Foreign(
        "sparsify",
        f"{PACKAGE} {VERSION}",
        f"{name}{kind}",
        config,
        plain=plain,
        writes_elsewhere=elsewhere,
    )

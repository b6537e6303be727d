"""What the other packages compute from their files, written down again from their source.

One function per package: the folder and activations (n, d) in, dense codes (n, f) and
reconstructions out. `make test-peers` holds these against the packages themselves.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

Answer = tuple[torch.Tensor, torch.Tensor]


def saelens(folder: Path, x: torch.Tensor) -> Answer:
    config = json.loads((folder / "cfg.json").read_text())
    w = load_file(folder / "sae_weights.safetensors")
    name, seen = config["architecture"], x
    if config["normalize_activations"] == "layer_norm":
        mu = x.mean(-1, keepdim=True)
        std = (x - mu).std(-1, keepdim=True)
        seen = (x - mu) / (std + 1e-5)
    if config["apply_b_dec_to_input"]:
        seen = seen - w["b_dec"]
    if name == "gated":
        pre = seen @ w["W_enc"]
        magnitude = (seen @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"]).relu()
        code = (pre + w["b_gate"] > 0) * magnitude
    else:
        pre = seen @ w["W_enc"] + w["b_enc"]
        code = pre.relu()
        if "jumprelu" in name:
            code = code * (pre > w["threshold"])
        if name == "topk":
            values, places = pre.topk(config["k"], dim=-1)
            code = torch.zeros_like(pre).scatter(-1, places, values.relu())
    made = code @ w["W_dec"] + w["b_dec"]
    if config["normalize_activations"] == "layer_norm":
        made, code = made * std + mu, code * std  # codes in raw units, as ours
    if "W_skip" in w:
        made = made + x @ w["W_skip"].T
    return code, made


def dictionary_learning(folder: Path, x: torch.Tensor) -> Answer:
    config = json.loads((folder / "config.json").read_text())["trainer"]
    w = torch.load(folder / "ae.pt", weights_only=True)
    name = config["dict_class"]
    if name == "AutoEncoder":
        code = torch.relu((x - w["bias"]) @ w["encoder.weight"].T + w["encoder.bias"])
        return code, code @ w["decoder.weight"].T + w["bias"]
    if name == "AutoEncoderNew":
        code = torch.relu(x @ w["encoder.weight"].T + w["encoder.bias"])
        return code, code @ w["decoder.weight"].T + w["decoder.bias"]
    if name == "GatedAutoEncoder":
        pre = (x - w["decoder_bias"]) @ w["encoder.weight"].T
        code = (pre + w["gate_bias"] > 0) * torch.relu(w["r_mag"].exp() * pre + w["mag_bias"])
        return code, code @ w["decoder.weight"].T + w["decoder_bias"]
    if name == "JumpReluAutoEncoder":
        pre = x @ w["W_enc"] + w["b_enc"]
        code = torch.relu(pre * (pre > w["threshold"]))
        return code, code @ w["W_dec"] + w["b_dec"]
    if name == "MatryoshkaBatchTopKSAE":
        code = torch.relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
        assert int(w["group_sizes"].sum()) == code.shape[1]
        code = code * (code > w["threshold"])
        return code, code @ w["W_dec"] + w["b_dec"]
    code = torch.relu((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"])
    if name == "AutoEncoderTopK":
        assert int(w["k"]) == config["k"]
        values, places = code.topk(config["k"], dim=-1)
        code = torch.zeros_like(code).scatter(-1, places, values)
    else:
        assert name == "BatchTopKSAE"
        code = code * (code > w["threshold"])
    return code, code @ w["decoder.weight"].T + w["b_dec"]


def sparsify(folder: Path, x: torch.Tensor) -> Answer:
    config = json.loads((folder / "cfg.json").read_text())
    w = load_file(folder / "sae.safetensors")
    seen = x if config["transcode"] else x - w["b_dec"]
    pre = torch.relu(seen @ w["encoder.weight"].T + w["encoder.bias"])
    if config["activation"] == "topk":
        values, places = pre.topk(config["k"], dim=-1)
    else:
        values, places = pre.unflatten(-1, (config["k"], -1)).max(dim=-1)
        places = places + torch.arange(0, pre.shape[1], pre.shape[1] // config["k"])
    code = torch.zeros_like(pre).scatter(-1, places, values)
    made = code @ w["W_dec"] + w["b_dec"]
    return code, made + x @ w["W_skip"].T if config["skip_connection"] else made


def openai(folder: Path, x: torch.Tensor) -> Answer:
    w = torch.load(next(folder.glob("*.pt")), weights_only=True)
    normalised = w["activation"] == "TopK"
    mu, std = torch.zeros(len(x), 1), torch.ones(len(x), 1)
    seen = x
    if normalised:
        mu = x.mean(dim=-1, keepdim=True)
        std = (x - mu).std(dim=-1, keepdim=True)
        seen = (x - mu) / (std + 1e-5)
    pre = (seen - w["pre_bias"]) @ w["encoder.weight"].T + w["latent_bias"]
    code = pre.relu()
    if normalised:
        values, places = pre.topk(w["activation_state_dict"]["k"], dim=-1)
        code = torch.zeros_like(pre).scatter(-1, places, values.relu())
    made = (code @ w["decoder.weight"].T + w["pre_bias"]) * std + mu
    return code * std, made

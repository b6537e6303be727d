"""What `benchmarks/peers.py` left in a folder, as the packages' functions want it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

SITE = "gpt_neox.layers.1"


class Scene:
    """Arrays `x`, `x_hat` (n, d), `values` (n, f) in float64; `tokens` (b, t); a tiny LM."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        with np.load(self.folder / "scene.npz") as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        self.x, self.x_hat, self.values = (arrays.pop(n) for n in ("x", "x_hat", "values"))
        self.tokens, self.special = arrays.pop("tokens"), int(arrays.pop("special"))
        self.sae_arrays = arrays

    def language_model(self) -> torch.nn.Module:
        """The tiny GPT-NeoX, in float32."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder / "model", dtype=torch.float32)

    def tell(self, package: str, numbers: dict[str, float]) -> None:
        """Prints the numbers and the versions they come from, as JSON on the last line."""
        names = ("torch", "transformers", "numpy", package)
        print(json.dumps({"numbers": numbers, "versions": {n: version(n) for n in names}}))


class LinearSae(torch.nn.Module):
    """relu(W_enc x + b_enc), then W_decᵀ a: the SAE that is spliced into the tiny LM."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.W_enc, self.W_dec = scene.sae_arrays["W_enc"], scene.sae_arrays["W_dec"]
        self.b_enc = scene.sae_arrays["b_enc"]
        self.device = torch.device("cpu")
        about = {"hook_name": SITE, "hook_head_index": None, "hook_layer": 1}
        self.cfg = SimpleNamespace(
            metadata=SimpleNamespace(**about), d_sae=len(self.b_enc), **about
        )
        self.dict_size, self.activation_dim = self.W_enc.shape

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Activations (..., f) of x (..., d)."""
        return torch.relu(x @ self.W_enc.T + self.b_enc)

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """Reconstructions (..., d) of activations (..., f)."""
        return code @ self.W_dec

    def forward(self, x: torch.Tensor, output_features: bool = False):
        """Reconstructions, and activations where they are asked for."""
        code = self.encode(x)
        return (self.decode(code), code) if output_features else self.decode(code)


class GivenSae(LinearSae):
    """An SAE that makes the given x_hat of the given x, whatever its weights."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.given, self.cfg.d_sae = scene, scene.values.shape[1]
        self.dict_size, self.activation_dim = scene.values.shape[1], scene.x.shape[1]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The given activations."""
        return self.given.values.view(*x.shape[:-1], -1)

    def decode(self, code: torch.Tensor) -> torch.Tensor:
        """The given reconstructions."""
        return self.given.x_hat.view(*code.shape[:-1], -1)


class GivenModel:
    """A language model whose cache holds the given x at the site, as one row of tokens."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def run_with_cache(self, tokens: torch.Tensor, **_: object):
        """Nothing and the cache."""
        return None, {SITE: self.scene.x[None]}


class Tokens:
    """A store that gives the same rows (b, t) of tokens whenever asked, and scales nothing."""

    normalize_activations = "none"

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens = tokens

    def get_batch_tokens(self, n_rows: int) -> torch.Tensor:
        """All rows."""
        return self.tokens

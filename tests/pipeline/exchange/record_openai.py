"""Records what OpenAI's own code saves and computes: its package is on no registry.

python -m tests.pipeline.exchange.record_openai MODEL_PY COMMIT, where MODEL_PY is
sparse_autoencoder/model.py of github.com/openai/sparse_autoencoder at that commit; it needs torch
alone. Writes recorded_openai/.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file

RECORDED = Path(__file__).parent / "recorded_openai"
WIDTH, LATENTS, K, ROWS = 12, 40, 5, 64


def main(model_py: str, commit: str) -> None:
    spec = importlib.util.spec_from_file_location("openai_model", model_py)
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    torch.manual_seed(0)
    x = 2 + 3 * torch.randn(ROWS, WIDTH)
    for name, activation in {"TopK": theirs.TopK(K), "ReLU": torch.nn.ReLU()}.items():
        made = theirs.Autoencoder(LATENTS, WIDTH, activation=activation, normalize=name == "TopK")
        torch.nn.init.normal_(made.pre_bias)
        torch.nn.init.normal_(made.latent_bias, std=0.3)
        folder = RECORDED / name
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(made.state_dict(), folder / "autoencoder.pt")
        # Its own loader, which is strict by default, refuses activation.k that its saving adds.
        state = torch.load(folder / "autoencoder.pt", weights_only=True)
        loaded = theirs.Autoencoder.from_state_dict(state, strict=False)
        with torch.no_grad():
            code, info = loaded.encode(x)
            back = loaded.decode(code, info)
        # Its codes are of the normalised token; in raw units they are times the deviation.
        scale = info.get("std", torch.ones(ROWS, 1))
        answer = {"x": x, "code": (code * scale).contiguous(), "made": back.contiguous()}
        save_file(answer, str(folder / "answer.safetensors"))
    about = {
        "package": f"openai/sparse_autoencoder {commit[:7]}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "torch": version("torch"),
    }
    (RECORDED / "about.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

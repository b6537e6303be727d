"""Run inside sparsify's environment: makes SAEs, and answers for folders it loads.

`sparsify.py make WORK` and `sparsify.py answer WORK`.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

# This file has the package's name; its folder must not come first.
sys.path.pop(0)

import torch
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder, SparseCoderConfig

D, F, K = 12, 40, 5


def main() -> None:
    warnings.simplefilter("ignore")
    work = Path(sys.argv[2])
    {"make": make, "answer": answer}[sys.argv[1]](work)


def answer(work: Path) -> None:
    x = load_file(work / "x.safetensors")["x"]
    for folder in sorted((work / "for/sparsify").iterdir()):
        sae = SparseCoder.load_from_disk(folder)
        write_answer(sae, x, work / "answers/sparsify" / f"{folder.name}.safetensors")


@torch.no_grad()
def write_answer(sae, x: torch.Tensor, path: Path) -> None:
    values, places, _ = sae.encode(x)
    code = torch.zeros(len(x), sae.num_latents).scatter(1, places, values)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"code": code, "made": sae(x).sae_out.contiguous()}, path)


@torch.no_grad()
def make(work: Path) -> None:
    kinds = {
        "topk": {},
        "groupmax": {"activation": "groupmax"},
        "transcoder": {"transcode": True},
        "skip-transcoder": {"transcode": True, "skip_connection": True},
    }
    draws = torch.Generator().manual_seed(7)
    x = load_file(work / "x.safetensors")["x"]
    for name, fields in kinds.items():
        sae = SparseCoder(D, SparseCoderConfig(num_latents=F, k=K, **fields))
        for part in sae.parameters():
            part.copy_(0.3 * torch.randn(part.shape, generator=draws))
        sae.save_to_disk(work / "by/sparsify" / name)
        write_answer(sae, x, work / "made/sparsify" / f"{name}.safetensors")


if __name__ == "__main__":
    main()

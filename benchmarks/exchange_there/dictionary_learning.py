"""Run inside dictionary_learning's environment: makes SAEs, and answers for folders it loads.

`dictionary_learning.py make WORK` and `dictionary_learning.py answer WORK`.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

# This file has the package's name; its folder must not come first.
sys.path.pop(0)

import torch
from dictionary_learning.dictionary import (
    AutoEncoder,
    AutoEncoderNew,
    GatedAutoEncoder,
    JumpReluAutoEncoder,
)
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from dictionary_learning.utils import load_dictionary
from safetensors.torch import load_file, save_file

D, F, K = 12, 40, 5


def main() -> None:
    warnings.simplefilter("ignore")
    work = Path(sys.argv[2])
    {"make": make, "answer": answer}[sys.argv[1]](work)


def answer(work: Path) -> None:
    x = load_file(work / "x.safetensors")["x"]
    for folder in sorted((work / "for/dictionary_learning").iterdir()):
        sae, _ = load_dictionary(str(folder), "cpu")
        path = work / "answers/dictionary_learning" / f"{folder.name}.safetensors"
        write_answer(sae, x, path)


@torch.no_grad()
def write_answer(sae, x: torch.Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"code": sae.encode(x).contiguous(), "made": sae(x).contiguous()}, path)


@torch.no_grad()
def make(work: Path) -> None:
    made = {
        "AutoEncoder": AutoEncoder(D, F),
        "AutoEncoderNew": AutoEncoderNew(D, F),
        "AutoEncoderTopK": AutoEncoderTopK(D, F, K),
        "BatchTopKSAE": BatchTopKSAE(D, F, K),
        "MatryoshkaBatchTopKSAE": MatryoshkaBatchTopKSAE(D, F, K, [10, 30]),
        "GatedAutoEncoder": GatedAutoEncoder(D, F),
        "JumpReluAutoEncoder": JumpReluAutoEncoder(D, F),
    }
    draws = torch.Generator().manual_seed(7)
    x = load_file(work / "x.safetensors")["x"]
    for name, sae in made.items():
        for part in sae.parameters():
            part.copy_(0.3 * torch.randn(part.shape, generator=draws))
        if hasattr(sae, "threshold"):
            sae.threshold.fill_(0.2)
        folder = work / "by/dictionary_learning" / name
        folder.mkdir(parents=True)
        torch.save(sae.state_dict(), folder / "ae.pt")
        trainer = {"dict_class": name, "activation_dim": D, "dict_size": F, "k": K}
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
        write_answer(sae, x, work / "made/dictionary_learning" / f"{name}.safetensors")


if __name__ == "__main__":
    main()

"""What SAEBench 0.1.0 says of the scene: the definitions of its paper, by its own functions."""

from __future__ import annotations

import sys

import torch
from of_sae_bench import measured
from sae_lens.load_model import HookedProxyLM
from scene import Scene


def main(scene: Scene) -> None:
    """Prints the numbers."""
    variance, scores = measured(scene, HookedProxyLM(scene.language_model(), None))
    numbers = {
        "ev_legacy": variance["explained_variance"],
        "l0": variance["l0"],
        "cosine": variance["cossim"],
        "relative_reconstruction_bias": variance["relative_reconstruction_bias"],
    }
    scene.tell("sae-bench", numbers | scores)


if __name__ == "__main__":
    with torch.no_grad():
        main(Scene(sys.argv[1]))

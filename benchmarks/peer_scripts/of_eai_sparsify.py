"""What sparsify's SparseCoder says of the scene, and the loss of the LM with one in it."""

from __future__ import annotations

import sys

import torch
from scene import SITE, LinearSae, Scene
from sparsify import SparseCoder, SparseCoderConfig
from sparsify.fused_encoder import EncoderOutput


def main(scene: Scene) -> None:
    """Prints the numbers."""
    coder = SparseCoder(scene.x.shape[1], SparseCoderConfig(num_latents=8, k=8)).double()
    nothing = torch.zeros(len(scene.x), 8)
    coder.encode = lambda x: EncoderOutput(nothing, nothing.long(), nothing)
    coder.decode = lambda acts, indices: scene.x_hat
    numbers = {"fvu_sparsify": float(coder(scene.x).fvu), "ce_sparsify": _loss(scene)}
    scene.tell("eai-sparsify", numbers)


def _loss(scene: Scene) -> float:
    """As its trainer measures ce: the hooked module's output is the coder's, everywhere."""
    model, sae = scene.language_model(), LinearSae(scene)

    def replace(_module, _inputs, output):
        whole = output[0] if isinstance(output, tuple) else output
        made = sae(whole)
        return (made, *output[1:]) if isinstance(output, tuple) else made

    handle = model.get_submodule(SITE).register_forward_hook(replace)
    loss = model(scene.tokens, labels=scene.tokens).loss
    handle.remove()
    return float(loss)


if __name__ == "__main__":
    with torch.no_grad():
        main(Scene(sys.argv[1]))

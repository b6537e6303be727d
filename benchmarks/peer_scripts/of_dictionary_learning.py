"""What dictionary_learning's `evaluate` and `loss_recovered` say of the scene."""

from __future__ import annotations

import sys

from dictionary_learning.evaluation import evaluate, loss_recovered
from nnsight import LanguageModel
from scene import GivenSae, LinearSae, Scene


def main(scene: Scene) -> None:
    """Prints the numbers."""
    found = evaluate(GivenSae(scene), iter([scene.x]))
    model = LanguageModel(str(scene.folder / "model"), device_map="cpu", dispatch=True)
    site = model.gpt_neox.layers[1]
    clean, spliced, zero = loss_recovered(scene.tokens, model, site, LinearSae(scene))
    numbers = {
        "ev_dictionary_learning": found["frac_variance_explained"],
        "l2_loss_dictionary_learning": found["l2_loss"],
        "l0": found["l0"],
        "cosine": found["cossim"],
        "relative_reconstruction_bias": found["relative_reconstruction_bias"],
        # As `evaluate` makes it of one batch of text.
        "frac_recovered_dictionary_learning": float((spliced - zero) / (clean - zero)),
    }
    scene.tell("dictionary-learning", numbers)


if __name__ == "__main__":
    main(Scene(sys.argv[1]))

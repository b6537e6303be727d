"""Steps of SAELens' `SAETrainer.fit` with its `TopKTrainingSAE`, both with their defaults.

AuxK is on by default and costs next to nothing while no latent is dead.
"""

from __future__ import annotations

from sae_lens.config import SAETrainerConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from turns import DEAD_FOR, LEARNING_RATE, STEPS, Contender, Sizes, Turns, sizes, tell


def main(given: Sizes) -> None:
    """Prints the seconds."""
    tell("sae-lens", given, {"topk": _one(given, 0.0), "topk_auxk": _one(given, 0.25)})


def _one(given: Sizes, dead_share: float) -> Contender:
    turns, (n, width) = Turns(given.x), given.x.shape
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=width, d_sae=given.n_latents, k=given.k))
    config = SAETrainerConfig(
        total_training_samples=STEPS * n,
        train_batch_size_samples=n,
        lr=LEARNING_RATE,
        lr_end=LEARNING_RATE / 10,  # as its runner fills it in
    )
    trainer = SAETrainer(config, sae, turns)
    n_dead = int(dead_share * given.n_latents)
    sae.W_enc.data[:, :n_dead] *= 0.01
    trainer.n_forward_passes_since_fired[:n_dead] = DEAD_FOR
    return Contender(turns.begin(trainer.fit), lambda: float(trainer.dead_neurons.float().mean()))


if __name__ == "__main__":
    main(sizes())

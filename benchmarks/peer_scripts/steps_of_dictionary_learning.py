"""Steps of dictionary_learning's `trainSAE` with its `TopKTrainer`: `update` for every batch.

AuxK is on by default and costs next to nothing while no latent is dead. Its threshold, which by
default it follows from step 1,000 on, is followed from the first one here.
"""

from __future__ import annotations

from dictionary_learning.trainers.top_k import TopKTrainer
from dictionary_learning.training import trainSAE
from turns import DEAD_FOR, LEARNING_RATE, STEPS, Contender, Sizes, Turns, sizes, tell


def main(given: Sizes) -> None:
    """Prints the seconds."""
    made = {"topk": _one(given, 0.0), "topk_auxk": _one(given, 0.25)}
    tell("dictionary-learning", given, made)


def _one(given: Sizes, dead_share: float) -> Contender:
    turns = Turns(given.x)
    trainer = TopKTrainer(
        steps=STEPS,
        activation_dim=given.x.shape[1],
        dict_size=given.n_latents,
        k=given.k,
        layer=0,
        lm_name="none",
        lr=LEARNING_RATE,
        threshold_start_step=0,
        device="cpu",
    )
    n_dead = int(dead_share * given.n_latents)
    trainer.ae.encoder.weight.data[:n_dead] *= 0.01
    trainer.num_tokens_since_fired[:n_dead] = DEAD_FOR

    def loop() -> None:
        trainSAE(turns, [{"trainer": lambda: trainer}], steps=STEPS, device="cpu")

    return Contender(turns.begin(loop), lambda: _dead_share(trainer))


def _dead_share(trainer: TopKTrainer) -> float:
    return float((trainer.num_tokens_since_fired >= trainer.dead_feature_threshold).float().mean())


if __name__ == "__main__":
    main(sizes())

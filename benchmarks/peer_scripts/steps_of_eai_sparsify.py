"""Steps of sparsify's `Trainer.fit`: its hook, its optimizer, its counters.

The trainer hooks a language model; here that is a module which gives the rows and does nothing
else. Signum is the package's default optimizer; Adam is there for the same work as elsewhere
(torch's: its 8-bit one needs another package). AuxK is off by default; its weight here is 1/32.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from sparsify import SaeConfig, TrainConfig, Trainer
from torch.utils.data import Dataset
from turns import DEAD_FOR, LEARNING_RATE, STEPS, Contender, Sizes, Turns, sizes, tell

SITE = "site"


class RowsGiven(torch.nn.Module):
    """A language model whose only module gives the same rows for every text."""

    def __init__(self, x: torch.Tensor) -> None:
        super().__init__()
        self.site, self.rows = torch.nn.Identity(), x[None]
        self.config = SimpleNamespace(num_hidden_layers=1)
        self.dummy_inputs = {"input_ids": torch.zeros(1, len(x), dtype=torch.int64)}
        self.device = x.device

    @property
    def base_model(self) -> torch.nn.Module:
        """Where the trainer looks for the modules to hook."""
        return self

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """The rows, (1, n, d)."""
        return self.site(self.rows)


class Texts(Dataset):
    """As many texts as there are turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, _index: int) -> object:
        return next(self.turns)


def main(given: Sizes) -> None:
    """Prints the seconds."""
    made = {}
    for optimizer, end in (("signum", ""), ("adam", "_adam")):
        made[f"topk{end}"] = _one(given, optimizer, dead_share=0.0)
        made[f"topk_auxk{end}"] = _one(given, optimizer, dead_share=0.25)
    tell("eai-sparsify", given, made)


def _one(given: Sizes, optimizer: str, *, dead_share: float) -> Contender:
    turns = Turns({"input_ids": torch.zeros(len(given.x), dtype=torch.int64)})
    config = TrainConfig(
        SaeConfig(num_latents=given.n_latents, k=given.k),
        batch_size=1,
        hookpoints=[SITE],
        optimizer=optimizer,
        lr=LEARNING_RATE,
        auxk_alpha=1 / 32 if dead_share else 0.0,
        save_every=2 * STEPS,
        log_to_wandb=False,
    )
    trainer = Trainer(config, Texts(turns), RowsGiven(given.x))
    n_dead = int(dead_share * given.n_latents)
    trainer.saes[SITE].encoder.weight.data[:n_dead] *= 0.01
    trainer.num_tokens_since_fired[SITE][:n_dead] = DEAD_FOR
    return Contender(turns.begin(trainer.fit), lambda: _dead_share(trainer))


def _dead_share(trainer: Trainer) -> float:
    since = trainer.num_tokens_since_fired[SITE]
    return float((since > trainer.cfg.dead_feature_threshold).float().mean())


if __name__ == "__main__":
    main(sizes())

"""What each architecture is trained on in the shared tests: as many sites as it needs."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Literal

import torch

from sae_core.config import SaeConfig
from sae_core.ranks import ALONE, Ranks
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

from .toy_language_model import ToyLanguageModel

CALIBRATION_STEP = 10**6


def views(judge: ModuleType, toy: Superposition) -> list[Superposition]:
    """What each site of a batch shows: the same features, by directions of its own."""
    return [replace(toy, view=view) for view in range(getattr(judge, "SITES", 1))]


def sample(judge: ModuleType, toy: Superposition, n: int, *, step: int) -> torch.Tensor:
    """A batch: the activations of its sites side by side."""
    return torch.cat([view.sample(n, step=step) for view in views(judge, toy)], 1)


def language_model(judge: ModuleType, *, unit: float = 1.0) -> ToyLanguageModel | None:
    """What a loss is trained through, where the architecture's is."""
    return ToyLanguageModel(unit=unit) if hasattr(judge, "THROUGH_A_MODEL") else None


def trainee(
    judge: ModuleType,
    toy: Superposition,
    config: SaeConfig,
    *,
    name: str,
    seed: int,
    unit: float = 1.0,
    ranks: Ranks = ALONE,
    split: Literal["tokens", "latents"] = "tokens",
) -> Trainee:
    """A trainee on such batches, whose activations are in units of `unit`."""
    rows = [view.sample(4096, step=CALIBRATION_STEP) * unit for view in views(judge, toy)]
    first, *further = map(statistics_of, rows)
    return Trainee(
        config,
        name=name,
        statistics=first,
        further=further,
        language_model=language_model(judge, unit=unit),
        seed=seed,
        ranks=ranks,
        split=split,
        init_rows=torch.cat(rows, 1)[: config.init_rows],
    )

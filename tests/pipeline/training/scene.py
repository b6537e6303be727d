"""A small world to train in: cells of any architecture, and a store of toy activations."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.study.config import EvaluationConfig, ModelConfig
from pipeline.study.names import SaeKey, Site, Source, Weights
from pipeline.study.registry import Cell
from pipeline.training.identity import Run
from pipeline.workspace import Workspace
from sae_core.architectures import config_class
from sae_core.statistics import SourceStatistics
from sae_core.toy import Superposition, statistics_of
from tests.sae_core.brute_force.toy_language_model import ToyLanguageModel

WIDTH, LATENTS, BATCH, STEPS = 16, 48, 64, 30
ARCHITECTURES = ("relu", "topk", "batch_topk", "transcoder")
SOURCE = Source("toy", Weights.parse("trained"), Site.parse("resid_post.1"))
_OWN = {"relu": {"l1": 0.05}}
_NEEDED = {
    "k": 4,
    "write_site": "mlp_out",
    "sites": ("resid_post.0", "resid_post.1"),
    "dictionary": "topk.s0",
}


def required(architecture: str) -> dict[str, object]:
    """What a recipe of this architecture cannot be without, beside its size."""
    known = config_class(architecture).model_fields
    return {name: value for name, value in _NEEDED.items() if name in known}


def cell(
    architecture: str = "topk", *, seed: int = 0, steps: int = STEPS, **fields: object
) -> Cell:
    """A cell of a small recipe."""
    recipe = config_class(architecture)(
        **{"n_latents": LATENTS, "tokens": steps * BATCH, "batch_size": BATCH, "lr": 3e-3}
        | required(architecture)
        | _OWN.get(architecture, {})
        | fields
    )
    return Cell(
        source=SOURCE,
        key=SaeKey(f"{architecture}-{steps}", seed),
        model=ModelConfig(device="cpu"),
        recipe=recipe,
        data_seed=0,
        evaluation=EvaluationConfig(),
        study="toy",
    )


class ToyStore:
    """Activations drawn from a toy model; batch b is the same whenever it is asked for."""

    width = WIDTH
    n_rows = 1024
    further_statistics = ()

    def __init__(self, on_batch: Callable[[int], None] = lambda number: None) -> None:
        self.wait_seconds = 0.0
        self.opened: list[int] = []
        self._toy = Superposition(n_features=32, width=WIDTH, density=0.1)
        self._on_batch = on_batch
        self.bad_from: int | None = None

    @property
    def statistics(self) -> SourceStatistics:
        return statistics_of(self._toy.sample(512, step=0))

    def epochs_for(self, tokens: int) -> float:
        return tokens / self.n_rows

    def calibration(self, max_rows: int | None = None) -> Iterator[torch.Tensor]:
        yield self._sample(min(256, max_rows or 256), step=1)

    def batches(self, *, batch_size: int, data_seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        self.opened.append(start)
        number = start
        while True:
            self._on_batch(number)
            bad = self.bad_from is not None and number >= self.bad_from
            sample = self._sample(batch_size, step=1000 * data_seed + number + 2)
            yield sample * torch.nan if bad else sample
            number += 1

    def _sample(self, n: int, *, step: int) -> torch.Tensor:
        return self._toy.sample(n, step=step)


class AlignedToy(ToyStore):
    """The toy store with further sites beside it: the same features, by other directions."""

    def __init__(self, stores: Sequence[ToyStore]) -> None:
        super().__init__(stores[0]._on_batch)
        self._views = [replace(self._toy, view=view) for view in range(len(stores))]

    @property
    def further_statistics(self) -> tuple[SourceStatistics, ...]:
        return tuple(statistics_of(view.sample(512, step=0)) for view in self._views[1:])

    def _sample(self, n: int, *, step: int) -> torch.Tensor:
        return torch.cat([view.sample(n, step=step) for view in self._views], 1)


class ToyTokenRows(ToyStore):
    """The toy store as what an SAE is trained on through a toy language model."""

    language_model = ToyLanguageModel(WIDTH)

    @classmethod
    def open(cls, workspace: Workspace, run: Run, store: ToyStore) -> ToyTokenRows:
        return cls(store._on_batch)


def install(
    patch: Callable[[object, str, object], None], store: ToyStore, *, source_hash: str = "a" * 64
) -> None:
    """Puts the toy store and its hash where the pipeline looks for them."""
    harvest = importlib.import_module("pipeline.harvest.run")
    pack = importlib.import_module("pipeline.corpus.pack")
    patch(pack, "open_corpus", lambda *arguments: object())
    stores = importlib.import_module("pipeline.store.activation_store")
    data = importlib.import_module("pipeline.training.data")
    patch(data, "AlignedStores", AlignedToy)
    patch(data, "TokenRowData", ToyTokenRows)
    patch(harvest, "source_hash", lambda *arguments: source_hash)
    patch(stores.ActivationStore, "open", lambda *arguments: store)


def workspace_at(folder: Path) -> Workspace:
    """A workspace in a test's folder."""
    return Workspace.open(folder / "workspace")

"""A workspace whose stages are quick fakes that count what they do, and a study in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.errors import SiteError, StoreError, StudyError
from pipeline.launch.config import LaunchConfig
from pipeline.plan import Plan, make_plan
from pipeline.study.config import ModelConfig
from pipeline.study.names import SaeKey, Site, Source, Weights
from pipeline.study.read import parse_study
from pipeline.study.registry import Cell, Registry, register
from pipeline.training.curve import CurveRow
from pipeline.workspace import Workspace
from sae_core.metrics.definition import Measured

STUDY = """
study: tiny
models:
  lm: {path: embedded}
sites: [resid_post.0]
recipes:
  topk: {architecture: topk, n_latents: 16, k: 2, tokens: 1000}
  relu: {architecture: relu, n_latents: 16, tokens: 1000}
"""
N_ROWS = 400


DIVERGENCE = "training diverged at step 13 (l1 was the first that was not finite)"


@dataclass
class FakeStages:
    """The pipeline's stages: what they were asked, and what exists."""

    passes: list[list[str]] = field(default_factory=list)
    reads: list[list[str]] = field(default_factory=list)
    sweeps: list[list[str]] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    trained: set[str] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    diverged: set[str] = field(default_factory=set)
    dead_share: float = 0.0
    launches: list[tuple[str, LaunchConfig | None]] = field(default_factory=list)
    while_training: Callable[[], None] = lambda: None

    def pack_corpus(self, workspace: Workspace, name: str, config: ModelConfig, **_: Any) -> Any:
        return SimpleNamespace(n_tokens=lambda split: N_ROWS, context=8, hash="c" * 64)

    def harvest(
        self,
        workspace: Workspace,
        name: str,
        config: ModelConfig,
        weights: Weights,
        sites: Sequence[Site],
        *,
        launch: LaunchConfig | None = None,
        **_: Any,
    ) -> list[Any]:
        self.launches.append(("harvest", launch))
        sources = [Source(name, weights, site) for site in sites]
        if any(source.site.kind == "mlp_act" for source in sources):
            raise SiteError("this model has no mlp_act")
        new = [str(source) for source in sources if str(source) not in self.stored]
        if new:
            self.passes.append(new)
            self.stored |= set(new)
        return [self._harvested(source, str(source) not in new) for source in sources]

    def _harvested(self, source: Source, reused: bool) -> Any:
        return SimpleNamespace(
            source=source,
            source_hash="5" * 64,
            reused=reused,
            n_rows=N_ROWS,
            n_nonfinite=0,
            n_high_norm=0,
            bytes=1000,
            seconds=1.0,
            tokens_per_second=400.0,
            store_path=Path("store"),
            statistics=SimpleNamespace(mean_norm=1.0, total_variance=2.0),
            shuffle_quality=[],
        )

    def open_store(self, workspace: Workspace, source: Source, source_hash: str) -> Any:
        def verify() -> None:
            if str(source) in self.damaged:
                raise StoreError(f"shard 3 of {source} is damaged")

        statistics = SimpleNamespace(mean_norm=1.0, total_variance=2.0)
        return SimpleNamespace(verify=verify, n_rows=N_ROWS, statistics=statistics)

    def harvest_state(self, workspace: Workspace, name: str, config: Any, source: Source) -> str:
        return "done" if str(source) in self.stored else "missing"

    def train_cells(
        self,
        workspace: Workspace,
        cells: Sequence[Cell],
        *,
        launch: LaunchConfig | None = None,
        **_: Any,
    ) -> list[Any]:
        self.launches.append(("training", launch))
        new = [cell.sae_id for cell in cells if cell.sae_id not in self.trained]
        if new:
            if str(cells[0].source) not in self.stored:
                raise StudyError(f"{cells[0].source} is not harvested yet")
            self.reads.append(new)
            self.while_training()
            self.trained |= set(new)
        return [self._trained(cell, cell.sae_id not in new) for cell in cells]

    def _trained(self, cell: Cell, reused: bool) -> Any:
        return SimpleNamespace(
            sae=cell.sae_id,
            sae_hash="a" * 64,
            reused=reused,
            path=Path("sae"),
            tokens=1000,
            epochs=2.5,
            seconds=1.0,
            tokens_per_second=1000.0,
            wait_share=0.0,
            final={"fvu": 0.2, "dead_share": self.dead_share, "tokens_per_second": -1.0},
            curve=(CurveRow(1, 500, "fvu", 0.5), CurveRow(2, 1000, "fvu", 0.2)),
            status="diverged" if cell.sae_id in self.diverged else "ok",
            divergence=DIVERGENCE if cell.sae_id in self.diverged else None,
            ways=("1 process",),
        )

    def training_state(self, workspace: Workspace, cell: Cell) -> str:
        if cell.sae_id in self.diverged and cell.sae_id in self.trained:
            return "diverged"
        return "done" if cell.sae_id in self.trained else "missing"

    def evaluate_cells(
        self,
        workspace: Workspace,
        cells: Sequence[Cell],
        *,
        launch: LaunchConfig | None = None,
        **_: Any,
    ) -> list[Any]:
        self.launches.append(("evaluation", launch))
        new = [cell.sae_id for cell in cells if cell.sae_id not in self.judged]
        if new:
            self.sweeps.append(new)
            self.judged |= set(new)
        return [
            SimpleNamespace(
                sae=cell.sae_id,
                sae_hash="a" * 64,
                evaluation_hash="e" * 64,
                reused=cell.sae_id not in new,
                metrics={"fvu": Measured(0.2, 0.1, 0.3, n=100), "dead_eval": Measured(0.0, n=100)},
                firing_frequency=[0.5, 0.1, 0.0],
                probes={},
            )
            for cell in cells
        ]

    def evaluation_state(self, workspace: Workspace, cell: Cell) -> str:
        return "done" if cell.sae_id in self.judged else "missing"

    def load(self, path: Path) -> Any:
        return SimpleNamespace(state_dict=dict)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace that is also the default one, with the study registered."""
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path / "workspace"))
    opened = Workspace.open()
    register(opened, parse_study(STUDY, "test"), yaml_text=STUDY)
    return opened


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> FakeStages:
    """Fakes in the place of every stage."""
    fake = FakeStages()
    places = {
        "pipeline.corpus.pack.pack_corpus": fake.pack_corpus,
        "pipeline.corpus.pack.open_corpus": fake.pack_corpus,
        "pipeline.harvest.run.harvest": fake.harvest,
        "pipeline.harvest.run.harvest_state": fake.harvest_state,
        "pipeline.store.activation_store.ActivationStore.open": fake.open_store,
        "pipeline.training.run.train_cells": fake.train_cells,
        "pipeline.training.run.training_state": fake.training_state,
        "pipeline.evaluation.run.evaluate_cells": fake.evaluate_cells,
        "pipeline.evaluation.run.evaluation_state": fake.evaluation_state,
        "pipeline.load_sae.load": fake.load,
        "pipeline.training.pictures.curve_picture": lambda rows: b"curve",
        "pipeline.training.pictures.frequency_picture": lambda frequency: b"histogram",
    }
    for place, stand_in in places.items():
        monkeypatch.setattr(place, stand_in)
    return fake


@pytest.fixture
def plan_of(workspace: Workspace) -> Callable[..., Plan]:
    """Makes the plan of sources × keys, both as text."""

    def make(sources: Sequence[str], keys: Sequence[str]) -> Plan:
        return make_plan(
            workspace,
            Registry.load(workspace),
            [Source.parse(text) for text in sources],
            [SaeKey.parse(text) for text in keys],
        )

    return make

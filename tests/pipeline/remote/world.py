"""A small study in a workspace with a remote place, as one of several machines would run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.harvest.run import HarvestResult, harvest
from pipeline.progress import Report, silent
from pipeline.remote.place import set_remote
from pipeline.store.activation_store import ActivationStore
from pipeline.study.config import ModelConfig
from pipeline.study.names import SaeKey, Source
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.training.run import TrainingResult, train_cells
from pipeline.workspace import Workspace

STUDY = """
study: small
models:
  pylm:
    path: embedded
    context: 64
    corpus: {kind: text, path: TEXTS, held_out_share: 0.2, calibration_share: 0.2}
    harvest: {tokens: 4096, calibration_tokens: 1024, shard_rows: 1024}
sites: [resid_post.0]
recipes:
  topk: {architecture: topk, n_latents: 64, k: 8, tokens: 2048, batch_size: 256, lr: 0.003}
"""
SHARD_BYTES = 1024 * 128 * 2


@dataclass(frozen=True)
class Machine:
    """One workspace with the study in it."""

    workspace: Workspace
    registry: Registry
    source: Source

    @property
    def model(self) -> ModelConfig:
        return self.registry.models["pylm"]

    def harvest(self, report: Report = silent) -> HarvestResult:
        source = self.source
        (result,) = harvest(
            self.workspace, "pylm", self.model, source.weights, [source.site], report=report
        )
        return result

    def train(self) -> TrainingResult:
        cells = [self.registry.cell(self.source, key) for key in self._keys()]
        (result,) = train_cells(self.workspace, cells)
        return result

    def store(self) -> ActivationStore:
        result = self.harvest()
        return ActivationStore.open(self.workspace, self.source, result.source_hash)

    def _keys(self) -> list[SaeKey]:
        return parse_study(STUDY, "small").keys()


def machine(
    folder: Path, library: Path, url: str | None = None, *, cache_gb: float = 1.0
) -> Machine:
    """A workspace in a folder of its own, with the remote place at `url`, if any."""
    workspace = Workspace.open(folder)
    text = STUDY.replace("TEXTS", str(library))
    study = parse_study(text, "small")
    register(workspace, study, yaml_text=text)
    if url is not None:
        set_remote(workspace, url, cache_gb=cache_gb)
    return Machine(workspace, Registry.load(workspace), study.sources()[0])

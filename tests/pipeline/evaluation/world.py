"""A workspace with a study whose SAEs are put there by hand, over the scene's language model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from pipeline.atomic import write_bytes
from pipeline.catalog.warehouse import query
from pipeline.evaluation import forwards as forwards_module
from pipeline.evaluation.held_out import HeldOut
from pipeline.evaluation.run import EvaluationResult, evaluate_cells
from pipeline.language_model.model import LanguageModel
from pipeline.store.layout import StoreFolder
from pipeline.study.config import EvaluationConfig
from pipeline.study.names import SaeKey, Source, Weights
from pipeline.study.read import parse_study
from pipeline.study.registry import Cell, Registry, register
from pipeline.training.checkpoint import Standing, TrainingCheckpoint, write_checkpoint
from pipeline.training.curve import Curve
from pipeline.training.identity import identify
from pipeline.training.record import SAE_FILE, Done, write_done
from pipeline.workspace import Workspace
from sae_core.bootstrap import resample_counts
from sae_core.checkpoint import sae_to_bytes
from sae_core.labelled_tokens import LabelledTokens
from sae_core.sae import Sae
from tests.pipeline.evaluation.scene import (
    CONTEXT,
    SITE,
    SPECIAL,
    VOCABULARY,
    WIDTH,
    activations,
    empty_sae,
    held_out_text,
    tiny_lm,
)

STUDY = """
study: tiny
models:
  lm: {path: embedded, device: cpu, batch_rows: 6}
weights: [trained, random, random@1, gaussian, gaussian@1]
sites: [resid_post.1]
recipes:
  narrow: {architecture: relu, n_latents: 32, tokens: 1000}
  other: {architecture: relu, n_latents: 32, tokens: 2000}
  wide: {architecture: relu, n_latents: 48, tokens: 1000}
  mixture: {architecture: switch, n_latents: 32, n_experts: 4, k: 2, tokens: 1000, always_on: true}
evaluation: {tokens: 256, bootstrap: 100}
"""


@dataclass
class World:
    """A workspace, and what was asked of its language model. `put` makes an SAE exist."""

    workspace: Workspace
    models: dict[str, LanguageModel]
    loaded: list[str] = field(default_factory=list)
    whole_passes: list[int] = field(default_factory=list)

    def cell(self, weights: str = "trained", recipe: str = "narrow", seed: int = 0) -> Cell:
        source = Source("lm", Weights.parse(weights), SITE)
        return Registry.load(self.workspace).cell(source, SaeKey(recipe, seed))

    def put(self, cell: Cell, sae: Sae, *, status: str = "ok") -> Cell:
        """An SAE as training leaves it; every second latent was silent for all of training."""
        run = identify(self.workspace, cell)
        step = 7 if status == "diverged" else None
        if status == "ok":
            write_bytes(run.folder / SAE_FILE, sae_to_bytes(sae))
        since_fired = torch.tensor([0, 10**9] * (sae.n_latents // 2))
        write_checkpoint(
            run.folder,
            TrainingCheckpoint(Standing(run.sae_hash), {"since_fired": since_fired}, Curve(())),
        )
        done = Done(run.name, run.sae_hash, status, 1, 1, 1.0, 1.0, 0.0, {}, step, None)
        write_done(run.folder, done)
        return cell

    def evaluate(self, *cells: Cell) -> list[EvaluationResult]:
        return evaluate_cells(self.workspace, cells)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return query(self.workspace, sql).to_pylist()


def drawn_sae(seed: int, n_latents: int = 32) -> Sae:
    """A ReLU SAE of random directions."""
    sae = empty_sae(n_latents, WIDTH)
    drawn = torch.randn(n_latents, WIDTH, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        sae.W_enc.copy_(drawn / WIDTH)
        sae.W_dec.copy_(torch.nn.functional.normalize(drawn))
    return sae


def build(folder: Path, patch: Callable[..., None]) -> World:
    """The world in a test's folder, with the language model, text and store put in place."""
    world = World(
        Workspace.open(folder / "workspace"),
        {
            "trained": tiny_lm(),
            "random": tiny_lm(spread=0.02, seed=1),
            "random@1": tiny_lm(spread=0.02, seed=2),
        },
    )
    # Drawn activations stand beside the trained model.
    world.models |= dict.fromkeys(("gaussian", "gaussian@1"), world.models["trained"])
    register(world.workspace, parse_study(STUDY, "here"), yaml_text=STUDY)
    corpus = _corpus(world.models["trained"])
    patch("pipeline.corpus.pack.open_corpus", lambda *_: corpus)
    patch("pipeline.evaluation.work.open_corpus", lambda *_: corpus)
    patch("pipeline.harvest.run.source_hash", lambda w, n, c, source: f"hash of {source}")
    patch("pipeline.evaluation.work.ActivationStore", _Stores(world))
    patch("pipeline.evaluation.work.load_language_model", _loader(world))
    patch("pipeline.evaluation.work.labelled_tokens", labelled)
    whole = forwards_module.Forwards.clean

    def counted(self: Any, tokens: torch.Tensor) -> Any:
        world.whole_passes.append(len(tokens))
        return whole(self, tokens)

    patch("pipeline.evaluation.forwards.Forwards.clean", counted)
    return world


def labelled(
    corpus: object, model: object, held_out: HeldOut, settings: EvaluationConfig
) -> LabelledTokens:
    """Labels of the fake text: whether the token's id is odd, and a coin for each place."""
    known = held_out.tokens != SPECIAL
    tokens = torch.from_numpy(held_out.tokens[known].astype(np.int64))
    documents = torch.from_numpy(held_out.document_index[known].astype(np.int64))
    coin = torch.rand(len(tokens), generator=torch.Generator().manual_seed(0)) < 0.5
    is_test = documents % 2 == 1
    clusters = torch.zeros_like(documents)
    judged, number = documents[is_test].unique(return_inverse=True)
    clusters[is_test] = number
    return LabelledTokens(
        names=("odd", "coin"),
        is_xor=(False, False),
        places=torch.from_numpy(np.flatnonzero(known)),
        labels=torch.stack([tokens % 2 == 1, coin], 1),
        tokens=tokens,
        previous=torch.full_like(tokens, -1),
        is_test=is_test,
        clusters=clusters,
        resamples=resample_counts(len(judged), settings.bootstrap, seed=settings.bootstrap_seed),
        n_documents=len(documents.unique()),
        n_left_out=0,
    )


def _loader(world: World) -> Callable[..., LanguageModel]:
    def load(config: object, weights: Weights) -> LanguageModel:
        world.loaded.append(str(weights))
        return world.models[str(weights)]

    return load


def _corpus(lm: LanguageModel) -> SimpleNamespace:
    text = held_out_text(lm)

    def tokens(split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        assert split in ("held_out", "train")
        return text.tokens[start:stop], text.document_index[start:stop] + 100

    return SimpleNamespace(
        hash="c" * 64,
        context=CONTEXT,
        vocab_size=VOCABULARY,
        special_ids=frozenset({SPECIAL}),
        n_rows=lambda split: len(text.tokens),
        tokens=tokens,
    )


@dataclass
class _Stores:
    world: World

    def open(self, workspace: Workspace, source: Source, source_hash: str) -> SimpleNamespace:
        lm = self.world.models[str(source.weights)]
        x = activations(lm, held_out_text(self.world.models["trained"], rows=4))
        return SimpleNamespace(
            folder=StoreFolder(self.world.workspace.root / "store"),
            statistics=SimpleNamespace(mean=x.mean(0)),
            manifest=SimpleNamespace(calibration=SimpleNamespace(max_norm=None)),
            calibration=lambda: iter([x.float()]),
        )

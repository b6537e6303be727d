"""A workspace with one SAE of each kind that some format cannot hold, trained and not evaluated."""

from __future__ import annotations

import pytest

from pipeline.harvest.run import harvest
from pipeline.study.config import Study
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.training.run import train_cells
from pipeline.workspace import Workspace
from tests.pipeline.small_world import texts

STUDY = """
study: kinds
models:
  pylm:
    path: embedded
    context: 64
    corpus: {kind: text, path: TEXTS, held_out_share: 0.2, calibration_share: 0.2}
    harvest: {tokens: 8192, calibration_tokens: 2048, shard_rows: 4096}
sites: [resid_post.1]
recipes:
  topk: {architecture: topk, n_latents: 64, k: 8, SHARED}
  batch: {architecture: batch_topk, n_latents: 64, k: 8, SHARED}
  gated: {architecture: gated, n_latents: 64, SHARED}
  groups: {architecture: group_max, n_latents: 64, k: 8, SHARED}
  switch: {architecture: switch, n_latents: 64, k: 8, n_experts: 4, SHARED}
  skip: {architecture: skip_transcoder, n_latents: 64, k: 8, write_site: mlp_out, SHARED}
  cross: {architecture: topk_crosscoder, n_latents: 64, k: 8, sites: [resid_post, mlp_out], SHARED}
  normal: {architecture: topk_token_norm, n_latents: 64, k: 8, SHARED}
evaluation: {tokens: 1024, bootstrap: 100}
"""
SHARED = "tokens: 8192, batch_size: 256, lr: 0.003"


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Study]:
    """The workspace and its study. Tests add SAEs and leave those that are there as they are."""
    folder = tmp_path_factory.mktemp("kinds")
    workspace = Workspace.open(folder / "workspace")
    text = STUDY.replace("TEXTS", str(texts(folder / "texts"))).replace("SHARED", SHARED)
    study = parse_study(text, "kinds")
    register(workspace, study, yaml_text=text)
    registry = Registry.load(workspace)
    (source,) = study.sources()
    keys = study.keys()
    cells = [registry.cell(source, key) for key in keys]
    sites = dict.fromkeys(s.site for cell in cells for s in (source, *cell.further_sources))
    harvest(workspace, "pylm", registry.models["pylm"], source.weights, list(sites))
    for cell in cells:
        train_cells(workspace, [cell])
    return workspace, study

"""A workspace in which a whole small study was run on the embedded model, stage by stage."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from pipeline.catalog.warehouse import refresh
from pipeline.study.config import Study
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.workspace import Workspace

STUDY = """
study: small
models:
  pylm:
    path: embedded
    context: 64
    corpus: {kind: text, path: TEXTS, held_out_share: 0.2, calibration_share: 0.2}
    harvest: {tokens: 8192, calibration_tokens: 2048, shard_rows: 4096}
weights: [trained, random]
sites: [resid_post.1]
recipes:
  topk8: {architecture: topk, n_latents: 64, k: 8, tokens: 8192, batch_size: 256, lr: 0.003}
seeds: [0, 1]
evaluation: {tokens: 1024, bootstrap: 100}
"""


def texts(folder: Path) -> Path:
    """Some small files of the standard library, one document each."""
    folder.mkdir(parents=True)
    library = Path(sysconfig.get_path("stdlib"))
    small = [path for path in sorted(library.glob("*.py")) if 2_000 < path.stat().st_size < 6_000]
    for path in small[:40]:
        (folder / f"{path.stem}.txt").write_bytes(path.read_bytes())
    return folder


def small_world(folder: Path, yaml_text: str = STUDY) -> tuple[Workspace, Study]:
    """The workspace and the study, every cell harvested, trained and evaluated."""
    from pipeline.evaluation.run import evaluate_cells
    from pipeline.harvest.run import harvest
    from pipeline.training.run import train_cells

    workspace = Workspace.open(folder / "workspace")
    text = yaml_text.replace("TEXTS", str(texts(folder / "texts")))
    study = parse_study(text, "small")
    register(workspace, study, yaml_text=text)
    registry = Registry.load(workspace)
    keys = study.keys()
    for source in study.sources():
        config = registry.models[source.model]
        harvest(workspace, source.model, config, source.weights, [source.site])
        cells = [registry.cell(source, key) for key in keys]
        train_cells(workspace, cells)
        evaluate_cells(workspace, cells)
    refresh(workspace)
    return workspace, study

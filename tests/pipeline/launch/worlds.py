"""A small study whose harvest and evaluation are made on a given launch, and what must be equal."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

from pipeline.catalog.warehouse import query, refresh
from pipeline.evaluation.run import evaluate_cells
from pipeline.harvest.run import harvest
from pipeline.harvest.spans import Span, make_span
from pipeline.launch.config import LaunchConfig
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.training.run import train_cells
from pipeline.workspace import Workspace
from tests.pipeline.small_world import texts

KILL = "KILLED_SPAN"  # a file that is made when the process that begins the second span dies
STUDY = """
study: small
models:
  pylm:
    path: embedded
    context: 64
    corpus: {kind: text, path: TEXTS, held_out_share: 0.2, calibration_share: 0.2}
    harvest: {tokens: 8192, calibration_tokens: 2048, shard_rows: 4096}
sites: [resid_post.0, resid_post.1]
recipes:
  topk8: {architecture: topk, n_latents: 64, k: 8, tokens: 2048, batch_size: 256, lr: 0.003}
seeds: [0, 1]
evaluation: {tokens: 1024, curve_tokens: 256, bootstrap: 100}
"""
# When, where from and how long: no two runs agree in these.
TIMES = ("seconds", "tokens_run", "written_at")


def made(folder: Path, text_folder: Path, launch: LaunchConfig) -> Workspace:
    """The workspace of the study, harvested and evaluated by `launch`, trained in this process."""
    if not text_folder.exists():
        texts(text_folder)
    workspace = Workspace.open(folder)
    text = STUDY.replace("TEXTS", str(text_folder))
    study = parse_study(text, "small")
    register(workspace, study, yaml_text=text)
    registry = Registry.load(workspace)
    sources = study.sources()
    config, sites = registry.models["pylm"], [source.site for source in sources]
    harvest(workspace, "pylm", config, sources[0].weights, sites, launch=launch)
    for source in sources[:1]:
        keys = study.keys()
        cells = [registry.cell(source, key) for key in keys]
        train_cells(workspace, cells)
        evaluate_cells(workspace, cells, launch=launch)
    refresh(workspace)
    return workspace


def store_bytes(workspace: Workspace) -> dict[str, str]:
    """Digest of every file of the activations; manifests without their times."""
    return {
        path.relative_to(workspace.activations).as_posix(): _digest(path)
        for path in sorted(workspace.activations.rglob("*"))
        if path.is_file() and "recorded" not in path.name
    }


def tokens_run_here(workspace: Workspace) -> set[int]:
    """Tokens that the harvest's own process ran through the model, of each site."""
    paths = workspace.activations.rglob("*.json")
    found = [json.loads(path.read_text()) for path in paths]
    return {one["tokens_run"] for one in found if isinstance(one, dict) and "tokens_run" in one}


def metrics(workspace: Workspace) -> list[dict[str, object]]:
    """Every metric of every SAE, with its interval."""
    columns = "sae, metric, value, ci_low, ci_high, n, reason"
    return query(workspace, f"SELECT {columns} FROM metrics ORDER BY sae, metric").to_pylist()


def make_and_die(span: Span) -> None:
    """Makes a span; the process that comes first to one that is not the first kills itself."""
    flag = Path(os.environ[KILL])
    if span.start and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    make_span(span)


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        fields = json.loads(data)
        if isinstance(fields, dict):
            data = json.dumps({k: v for k, v in fields.items() if k not in TIMES}).encode()
    return hashlib.sha256(data).hexdigest()

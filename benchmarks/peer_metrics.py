"""An SAE that SAELens trained on activations of the embedded model: its metrics there and here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from pipeline.evaluation.run import evaluate_cells
from pipeline.exchange.held_out_rows import held_out_rows
from pipeline.exchange.place import located
from pipeline.exchange.take_in import read_arrival, take_in
from pipeline.harvest.run import harvest, source_hash
from pipeline.load_sae import load
from pipeline.store.activation_store import ActivationStore
from pipeline.study.names import SaeKey, Source
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.workspace import Workspace
from tests.pipeline.exchange.some_saes import both

STUDY = """
study: peers
models:
  pylm:
    path: embedded
    context: 64
    harvest: {tokens: 32768, calibration_tokens: 2048, shard_rows: 4096}
sites: [resid_post.1]
recipes:
  other: {architecture: topk, n_latents: 64, k: 8, tokens: 8192}
evaluation: {tokens: 8192, bootstrap: 100}
"""
# Their name -> ours, where the definitions agree. They sum in float32, we in float64.
SAME = {
    "explained_variance": "ev_sae_lens",
    "mse": "mse",
    "cossim": "cosine",
    "l2_ratio": "l2_ratio_sae_lens",
    "relative_reconstruction_bias": "relative_reconstruction_bias",
    "l0": "l0",
    "l1": "l1_sae_lens",
}
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Metrics:
    """Lines of a table, and whether all in it agree."""

    lines: list[str]
    agree: bool


def compared_metrics(work: Path, train: Callable[[], None]) -> Metrics:
    """Harvests, lets SAELens train on the rows, imports what it saved, evaluates it here.

    `train()` reads work/activations.safetensors and leaves work/trained, its codes and
    reconstructions of the held-out rows, and work/their-metrics.json.
    """
    workspace = Workspace.open(work / "workspace")
    registry, source, held_out = activations(work, workspace)
    train()
    arrival = read_arrival(registry, located(str(work / "trained")), source, name="saelens")
    cell, _ = take_in(workspace, arrival)
    (result,) = evaluate_cells(workspace, [cell])
    theirs = json.loads((work / "their-metrics.json").read_text())
    (path,) = (workspace.saes / cell.sae_id).iterdir()
    code, made = both(load(path), held_out)
    ours = {name: metric.value for name, metric in result.metrics.items()}
    table, worst = differences(theirs, ours)
    lines = [
        f"BatchTopK of 128 latents, k 8, trained by SAELens's trainer on 32,768 rows of "
        f"{source}; {len(held_out):,} held-out tokens.",
        answers(load_file(work / "trained-answer.safetensors"), code, made, held_out),
        "",
        *table,
        "",
        legacy(theirs, ours, held_out, made),
    ]
    return Metrics(lines, agree=worst <= TOLERANCE)


def activations(work: Path, workspace: Workspace) -> tuple[Registry, Source, torch.Tensor]:
    """A harvest's rows and held-out rows, written for the other package; the latter given back."""
    study = parse_study(STUDY, "peers")
    register(workspace, study, yaml_text=STUDY)
    registry, (source,) = Registry.load(workspace), study.sources()
    model = registry.models["pylm"]
    harvest(workspace, "pylm", model, source.weights, [source.site])
    store = ActivationStore.open(workspace, source, source_hash(workspace, "pylm", model, source))
    held_out, _ = held_out_rows(workspace, registry.cell(source, SaeKey("other", 0)))
    rows = next(iter(store.batches(batch_size=32768, data_seed=0)))
    save_file(
        {"train": rows.float().contiguous(), "held_out": held_out},
        work / "activations.safetensors",
    )
    return registry, source, held_out


def answers(
    said: dict[str, torch.Tensor], code: torch.Tensor, made: torch.Tensor, held_out: torch.Tensor
) -> str:
    """How far the code and the reconstructions there are from those here."""
    unlike = (said["code"] > 0) ^ (code > 0)
    off = float((said["made"] - made)[~unlike.any(1)].abs().max())
    return (
        f"Of {int((code > 0).sum())} active latents {int(unlike.sum())} are active in one of the "
        f"two alone; the other tokens' reconstructions differ by at most {off:.1e}, where "
        f"entries are up to {float(held_out.abs().max()):.0f}."
    )


def differences(theirs: dict[str, float], ours: dict[str, float]) -> tuple[list[str], float]:
    """A table of the metrics that are defined alike, and the largest relative difference."""
    lines = ["| metric | there | here | relative difference |", "| --- | --- | --- | --- |"]
    worst = 0.0
    for their_name, name in SAME.items():
        a, b = theirs[their_name], ours[name]
        difference = abs(a - b) / abs(a)
        worst = max(worst, difference)
        lines.append(f"| {their_name} = {name} | {a:.7g} | {b:.7g} | {difference:.1e} |")
    return lines, worst


def legacy(
    theirs: dict[str, float], ours: dict[str, float], held_out: torch.Tensor, made: torch.Tensor
) -> str:
    """Why one metric of the same name differs, and what it is by the other definition."""
    x, error = held_out.double(), (held_out - made).double()
    again = float(1 - (error.square().sum(1) / (x - x.mean(0)).square().sum(1)).mean())
    return (
        f"Their explained_variance_legacy, {theirs['explained_variance_legacy']:.4f}, is not our "
        f"ev_legacy, {ours['ev_legacy']:.4f}: a mean of ratios to each token's distance from the "
        "batch's own mean there, from the source's mean here. With the batch's mean it is "
        f"{again:.4f} here, too."
    )

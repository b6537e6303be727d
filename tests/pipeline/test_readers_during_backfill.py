"""Many readers ask while `sae backfill` harvests, trains and evaluates: no errors, nothing half."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.catalog.warehouse import query, refresh
from pipeline.workspace import Workspace
from tests.pipeline.reading_process import N_LATENTS, N_STEPS
from tests.pipeline.small_world import texts

ROOT = Path(__file__).parents[2]
STUDY = f"""
study: small
models:
  pylm:
    path: embedded
    context: 64
    corpus: {{kind: text, path: TEXTS, held_out_share: 0.2, calibration_share: 0.2}}
    harvest: {{tokens: 2048, calibration_tokens: 512, shard_rows: 1024}}
weights: [trained]
sites: [resid_post.0, resid_post.1]
recipes:
  topk4:
    architecture: topk
    n_latents: {N_LATENTS}
    k: 4
    tokens: {N_STEPS * 256}
    batch_size: 256
    lr: 0.003
seeds: [0]
evaluation: {{tokens: 256, bootstrap: 100}}
"""
DOORS = ("ours", "shell", "ours", "shell")


def started(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.pipeline.{module}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, f"{out}\n{err}"
    return out


def read_during_a_backfill(folder: Path, *, n_queries: int) -> None:
    workspace = Workspace.open(folder / "workspace")
    study, stop = folder / "study.yaml", folder / "stop"
    study.write_text(STUDY.replace("TEXTS", str(texts(folder / "texts"))))
    refresh(workspace)
    root = str(workspace.root)
    writer = started("backfilling_process", root, str(study), str(stop))
    commits = workspace.tables / "commits"
    while writer.poll() is None and not list(commits.glob("*-harvest-*.parquet")):
        time.sleep(0.1)
    readers = [started("reading_process", root, door, str(n_queries)) for door in DOORS]
    try:
        answers = [said(reader).split() for reader in readers]
    finally:
        stop.touch()
        told = said(writer)
    n_saes = query(workspace, "SELECT count(*) AS n FROM evaluations WHERE fvu IS NOT NULL")
    n_backfills = int(told.split()[-2])
    assert n_saes["n"][0].as_py() == 2 * n_backfills
    # The results grew under the readers' eyes.
    assert all(int(states) > 2 and int(last) > 0 for states, last in answers)


@pytest.mark.long
def test_ten_thousand_queries_during_backfills_see_no_error_and_nothing_half_written(
    tmp_path: Path,
) -> None:
    read_during_a_backfill(tmp_path, n_queries=2500)

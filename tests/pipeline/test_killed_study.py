"""kill -9 of `sae run` in every stage: the same command again ends in the same results."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from pipeline import load
from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import query
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.liveness import reap
from pipeline.training.checkpoint import read_checkpoint, state_digest
from pipeline.training.record import SAE_FILE
from pipeline.workspace import Workspace
from tests.pipeline.small_world import STUDY, texts

ROOT = Path(__file__).parents[2]
# Each kill falls at a random time after the process entered the stage for the n-th time. The second
# training is that of the other source: the first one's SAEs are resumed and evaluated before it.
KILLS = (
    ("corpus", 1),
    ("harvest", 1),
    ("training", 1),
    ("evaluation", 1),
    ("training", 1),
    ("matching", 1),
    ("runs", 2),
)
VIEWS = ("evaluations", "trained_vs_random", "seed_stability", "pareto_frontier")
# What the clock says, and which run said it.
OF_THE_RUN = {
    "run",
    "commit",
    "seconds",
    "tokens_per_second",
    "wait_share",
    "registered_at",
}


def begun(folder: Path, study: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.pipeline.told_study"]
    return subprocess.Popen(
        [*command, "--workspace", str(folder), "run", str(study)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stages(process: subprocess.Popen[str]) -> Iterator[tuple[str, float]]:
    """Stages as they begin, with the second at which they do."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if len(words) == 2 and words[1].replace(".", "", 1).isdecimal():
            yield words[0], float(words[1])


def finish(folder: Path, study: Path) -> list[tuple[str, float]]:
    with begun(folder, study) as process:
        told = list(stages(process))
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 0, said
    return told


def killed(folder: Path, study: Path, stage: str, number: int, after: float) -> bool:
    """Whether the process was killed `after` seconds into the stage; else it has ended."""
    with begun(folder, study) as process:
        for name, _ in stages(process):
            number -= name == stage
            if number == 0:
                break
        time.sleep(after)
        ended = process.poll() is not None
        process.kill()
    return not ended


def shortest(told: list[tuple[str, float]]) -> dict[str, float]:
    """The shortest time that each stage took."""
    found: dict[str, float] = {}
    for (stage, start), (_, stop) in pairwise(told):
        found[stage] = min(found.get(stage, math.inf), stop - start)
    return found


def tables(workspace: Workspace) -> dict[str, list[str]]:
    """Every row of every table and view, without what differs from run to run."""
    found = {}
    for name in (*TABLES.keys() - {"commits"}, *VIEWS):
        rows = query(workspace, f"FROM {name}").to_pylist()
        kept = [{k: v for k, v in row.items() if k not in OF_THE_RUN} for row in rows]
        found[name] = sorted(str(row) for row in kept if row.get("metric") not in OF_THE_RUN)
    return found


def digests(workspace: Workspace) -> dict[str, str]:
    """Digests of the packed corpus, the stored rows, the weights and the optimisers' states."""
    found = {}
    for folder, pattern in (
        (workspace.corpus, "*/*.parquet"),
        (workspace.activations, "*/*/store.zarr/*/**/*"),
        (workspace.saes, f"*/*/*/{SAE_FILE}"),
    ):
        for path in folder.glob(pattern):
            if path.is_file():
                name = str(path.relative_to(workspace.root))
                found[name] = sha256(path.read_bytes()).hexdigest()
    for row in query(workspace, "SELECT sae, sae_hash FROM saes").to_pylist():
        checkpoint = read_checkpoint(
            workspace.saes / row["sae"] / row["sae_hash"][:8], row["sae_hash"]
        )
        assert checkpoint is not None
        found[row["sae"]] = state_digest(checkpoint.state)
    return found


def check_what_is_told(workspace: Workspace) -> None:
    """What the tables say exists does exist, whole."""
    for row in query(workspace, "SELECT sae, sae_hash FROM saes").to_pylist():
        load(workspace.saes / row["sae"] / row["sae_hash"][:8])
    orphans = "SELECT sae FROM metrics WHERE sae_hash NOT IN (SELECT sae_hash FROM saes)"
    assert query(workspace, orphans).num_rows == 0
    odd = "SELECT sae FROM metrics GROUP BY sae, metric HAVING count(*) > 1"
    assert query(workspace, odd).num_rows == 0


@pytest.mark.long
def test_a_study_killed_in_every_stage_ends_in_the_results_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("TEXTS", str(texts(tmp_path / "texts"))))
    told = finish(tmp_path / "whole", study)
    lasted, draws, n_kills = shortest(told), random.Random(0), 0
    assert {stage for stage, _ in KILLS} <= {stage for stage, _ in told}
    for stage, number in KILLS:
        after = draws.uniform(0, lasted[stage])
        n_kills += killed(tmp_path / "killed", study, stage, number, after)
        check_what_is_told(Workspace.open(tmp_path / "killed"))
    finish(tmp_path / "killed", study)
    whole, broken = Workspace.open(tmp_path / "whole"), Workspace.open(tmp_path / "killed")
    # On a busy machine the last process may have ended when its kill came.
    assert n_kills >= len(KILLS) - 1
    assert digests(broken) == digests(whole)
    expected, found = tables(whole), tables(broken)
    assert found == expected
    assert all(expected[name] for name in ("saes", "metrics", "comparisons", *VIEWS))
    with open_instance(broken) as instance:
        reap(instance, broken)
        open_runs = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        assert instance.get_runs_count(open_runs) == 0

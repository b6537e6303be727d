from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from pipeline.catalog import collect as collecting
from pipeline.catalog import warehouse
from pipeline.catalog.collect import collect
from pipeline.catalog.warehouse import query, refresh
from pipeline.catalog.write import new_run_id, write_run
from pipeline.errors import UserError
from pipeline.workspace import Workspace
from tests.pipeline.catalog.reader import KIND, LATENTS, METRICS
from tests.pipeline.catalog.rows import metric, row, sae

ROOT = Path(__file__).parents[3]
# A shell's query that has listed a part finds it gone; so here compacted parts stay.
NEVER_HOURS = 1000.0


def _write(workspace: Workspace, number: int) -> None:
    name = f"m.trained.resid_post.{number}/t.s0"
    rows = {
        "latents": [row("latents", sae=name, sae_hash="h", latent=i) for i in range(LATENTS)],
        "metrics": [metric(name, of, 1.0) for of in ("l0", "fvu", "mse")],
        "saes": [sae(name)],
    }
    assert len(rows["metrics"]) == METRICS
    write_run(workspace, new_run_id(KIND), rows, kind=KIND)


def _read_while_writing(
    workspace: Workspace, *, readers: list[str], n_queries: int, pause: float, every: int
) -> int:
    """Runs written by the time all readers have asked their questions; compacts every so often."""
    refresh(workspace)
    script = [sys.executable, "-m", "tests.pipeline.catalog.reader", str(workspace.root)]
    processes = [
        subprocess.Popen(
            [*script, door, str(n_queries)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for door in readers
    ]
    written = 0
    while any(process.poll() is None for process in processes):
        _write(workspace, written)
        written += 1
        if written % every == 0:
            collect(workspace, older_than_hours=NEVER_HOURS, confirm=lambda found: True)
        # Ever slower: on a busy machine the parts would else outgrow the readers.
        time.sleep(pause * (1 + written / 20))
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert 0 < int(out) <= written
    runs = query(workspace, f"SELECT count(*) AS n FROM commits WHERE kind = '{KIND}'")
    assert runs["n"][0].as_py() == written
    return written


def test_readers_see_whole_runs_while_a_writer_writes_and_compacts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_FEW", 4)
    doors = ["ours", "shell"]
    assert _read_while_writing(workspace, readers=doors, n_queries=40, pause=0.0, every=5) >= 2


class _PartGone:
    """A connection whose query opens a part that was removed after it was listed."""

    def __enter__(self) -> _PartGone:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sql(self, query: str) -> None:
        raise duckdb.IOException('IO Error: Cannot open file "x": No such file or directory')


def test_a_query_that_finds_a_listed_part_gone_asks_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, unlucky = warehouse.connect, [_PartGone(), _PartGone()]
    _write(workspace, 0)
    monkeypatch.setattr(warehouse, "connect", lambda w: unlucky.pop() if unlucky else real(w))
    assert query(workspace, "FROM saes").num_rows == 1
    assert unlucky == []
    monkeypatch.setattr(warehouse, "connect", lambda w: _PartGone())
    with pytest.raises(UserError, match="No such file"):
        query(workspace, "FROM saes")


@pytest.mark.long
def test_readers_of_many_runs_and_compactions_see_no_error_and_no_half_written_run(
    workspace: Workspace,
) -> None:
    doors = ["ours", "shell"]
    written = _read_while_writing(workspace, readers=doors, n_queries=600, pause=0.2, every=10)
    assert written >= 10

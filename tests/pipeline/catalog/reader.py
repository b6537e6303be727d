"""A process that asks again and again, and tells the first answer that is not whole."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from pipeline.catalog.warehouse import connect
from pipeline.workspace import Workspace

METRICS, LATENTS = 3, 8
KIND = "training"
REOPEN_EVERY = 50
_QUESTION = f"""
SELECT
  (SELECT count(*) FROM latents) AS latents,
  (SELECT count(*) FROM saes) AS saes,
  (SELECT count(*) FROM metrics) AS metrics,
  (SELECT count(*) FROM commits WHERE kind = '{KIND}') AS runs,
  (SELECT count(*) FROM saes JOIN metrics USING (sae, sae_hash, run)) AS joined"""
_WIDE = "SELECT count(*), count(fvu), count(l0) FROM evaluations"


def main(root: str, door: str, n_queries: int) -> None:
    """Asks `n_queries` times through one door; prints how many runs it saw at the end."""
    workspace = Workspace.open(root)
    connection = _open(workspace, door)
    seen = 0
    for i in range(n_queries):
        if i % REOPEN_EVERY == REOPEN_EVERY - 1:
            connection.close()
            connection = _open(workspace, door)
        if i % 10 == 9:
            saes, fvu, l0 = connection.execute(_WIDE).fetchone() or ()
            whole, runs = saes == fvu == l0, saes
        else:
            latents, saes, metrics, runs, joined = connection.execute(_QUESTION).fetchone() or ()
            whole = (latents, saes) == (LATENTS * runs, runs)
            whole = whole and metrics == joined == METRICS * runs
        if not whole or runs < seen:
            sys.exit(f"query {i} by {door}: half-written, or results gone: {locals()}")
        seen = runs
    print(seen)


def _open(workspace: Workspace, door: str) -> duckdb.DuckDBPyConnection:
    if door == "ours":
        return connect(workspace)
    return duckdb.connect(str(workspace.warehouse), read_only=True)


if __name__ == "__main__":
    main(str(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))

"""A process that asks while a backfill writes: `python -m ... WORKSPACE DOOR QUERIES`.

It ends with the first answer that is not whole, or with how much it saw grow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

from pipeline.catalog.warehouse import connect
from pipeline.workspace import Workspace

N_LATENTS, N_STEPS = 32, 8
REOPEN_EVERY = 100
MOST = 20

# Each question looks at tables that one run writes together, in one query; the first number is how
# much there is, and never shrinks.
Row = tuple[int, ...]
QUESTIONS: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    (
        "SELECT count(*), count(DISTINCT sae), sum(n_fires IS NULL) FROM latents",
        lambda row: row[0] == N_LATENTS * row[1] and not row[2],
    ),
    (
        "SELECT count(*), count(DISTINCT (sae_a, sae_b)) FROM latent_matches",
        lambda row: row[0] == N_LATENTS * row[1],
    ),
    (
        "SELECT count(DISTINCT sae), count(*) FILTER (metric = 'fvu'), "
        "count(*) FILTER (metric = 'l0'), count(*) FILTER (metric = 'mse') FROM metrics",
        lambda row: len(set(row)) == 1,
    ),
    (
        "SELECT (SELECT count(*) FROM saes), "
        f"(SELECT count(*) FROM training_curve WHERE metric = 'fvu' AND step = {N_STEPS})",
        lambda row: row[0] == row[1],
    ),
    (
        "SELECT (SELECT count(DISTINCT sae) FROM latents), "
        "(SELECT count(*) FROM metrics WHERE metric = 'fvu'), "
        "(SELECT count(*) FROM saes WHERE source_hash NOT IN (SELECT source_hash FROM sources))",
        lambda row: row[0] == row[1] and not row[2],
    ),
    (
        "SELECT count(fvu), count(*), count(l0), count(mse) FROM evaluations",
        lambda row: row[0] == row[2] == row[3] <= row[1],
    ),
)
# The wide view costs as much as four of the others.
TURNS = (0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 3, 0, 1, 2, 5)


def main(root: str, door: str, n_queries: int) -> None:
    """Asks at least `n_queries` times; prints how many numbers of SAEs it saw, and the last."""
    workspace = Workspace.open(root)
    connection = _open(workspace, door)
    seen: dict[int, list[int]] = {}
    for i in range(MOST * n_queries):
        # Quick readers go on until results have grown twice.
        if i >= n_queries and len(set(seen[2])) > 2:
            break
        if i % REOPEN_EVERY == REOPEN_EVERY - 1:
            connection.close()
            connection = _open(workspace, door)
        turn = TURNS[i % len(TURNS)]
        question, whole = QUESTIONS[turn]
        row = connection.execute(question).fetchone() or ()
        counts = seen.setdefault(turn, [])
        if not whole(tuple(value or 0 for value in row)):
            sys.exit(f"query {i} by {door}: half-written: {question}: {row}")
        if counts and row[0] < counts[-1]:
            sys.exit(f"query {i} by {door}: results gone: {question}: {row} after {counts[-1]}")
        counts.append(row[0])
    print(len(set(seen[2])), seen[2][-1])


def _open(workspace: Workspace, door: str) -> duckdb.DuckDBPyConnection:
    if door == "ours":
        return connect(workspace)
    return duckdb.connect(str(workspace.warehouse), read_only=True)


if __name__ == "__main__":
    main(str(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))

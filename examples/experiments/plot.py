"""Draws verdicts.sql: one picture per experiment that was run, in the current folder.

    python examples/experiments/plot.py [WORKSPACE]

Each contrast is a difference with its interval; the grey band is smaller than the smallest effect
that the experiment can resolve.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from pipeline.catalog.warehouse import query
from pipeline.results import contrasts
from pipeline.workspace import Workspace

VERDICTS = Path(__file__).parent / "verdicts.sql"


def pictures(workspace: Workspace, folder: Path) -> list[Path]:
    """Writes <experiment>.png for every experiment with rows; gives the files."""
    by_experiment = defaultdict(list)
    for row in query(workspace, VERDICTS.read_text()).to_pylist():
        by_experiment[row["experiment"]].append(row)
    return [contrasts.picture(rows, folder / f"{name}.png") for name, rows in by_experiment.items()]


if __name__ == "__main__":
    at = [Path(argument) for argument in sys.argv[1:2]]
    for written in pictures(Workspace.open(*at), Path.cwd()):
        print(written)

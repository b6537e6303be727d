"""Draws verdicts.sql: one picture per experiment that was run, in the current folder.

    python examples/experiments/plot.py [WORKSPACE]

Each contrast is a difference with its interval; the grey band is smaller than the smallest effect
that the experiment can resolve.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

VERDICTS = Path(__file__).parent / "verdicts.sql"


def pictures(workspace: Workspace, folder: Path) -> list[Path]:
    """Writes <experiment>.png for every experiment with rows; gives the files."""
    by_experiment = defaultdict(list)
    for row in query(workspace, VERDICTS.read_text()).to_pylist():
        by_experiment[row["experiment"]].append(row)
    return [_picture(name, rows, folder) for name, rows in by_experiment.items()]


def _picture(experiment: str, rows: list[dict[str, Any]], folder: Path) -> Path:
    metrics = sorted({row["metric"] for row in rows})
    figure = Figure(figsize=(4.6 * len(metrics), 1.2 + 0.5 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, metric in enumerate(metrics):
        axes = figure.add_subplot(1, len(metrics), place + 1)
        own = [row for row in rows if row["metric"] == metric]
        axes.axvspan(-own[0]["smallest_effect"], own[0]["smallest_effect"], color="0.9")
        axes.axvline(0, color="0.6", linewidth=0.8)
        for height, row in enumerate(own):
            half = row["ci_high"] - row["difference"]
            axes.errorbar(row["difference"], height, xerr=half, fmt="o", capsize=3)
        labels = [f"{r['treated']} − {r['baseline']}\n{r['verdict']}" for r in own]
        axes.set_yticks(range(len(own)), labels, fontsize=7)
        axes.set_title(f"{metric} ({own[0]['seeds']} seeds)", fontsize=9)
        axes.margins(y=0.3)
    path = folder / f"{experiment}.png"
    figure.savefig(path, dpi=120)
    return path


if __name__ == "__main__":
    at = [Path(argument) for argument in sys.argv[1:2]]
    for written in pictures(Workspace.open(*at), Path.cwd()):
        print(written)

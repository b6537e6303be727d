"""An experiment's contrasts as a picture: each difference with its interval, and what is too small.

Rows are those of examples/experiments/verdicts.sql. The grey band is smaller than the smallest
effect that the experiment can resolve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.results.pictures import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]


def picture(rows: Sequence[Row], path: Path) -> Path:
    """Writes the picture of one experiment's contrasts; gives its path."""
    metrics = sorted({row["metric"] for row in rows})

    def draw(figure: Figure) -> None:
        for place, metric in enumerate(metrics):
            axes = figure.add_subplot(1, len(metrics), place + 1)
            _draw(axes, metric, [row for row in rows if row["metric"] == metric])

    most = max(sum(row["metric"] == metric for row in rows) for metric in metrics)
    return drawn(path, (min(4.2 * len(metrics), 12.6), 1.0 + 0.45 * most), draw)


def _draw(axes: Any, metric: str, rows: Sequence[Row]) -> None:
    axes.axvspan(-rows[0]["smallest_effect"], rows[0]["smallest_effect"], color="0.9")
    axes.axvline(0, color="0.6", linewidth=0.8)
    for height, row in enumerate(reversed(rows)):
        half = 0.0 if row["ci_high"] is None else row["ci_high"] - row["difference"]
        axes.errorbar(row["difference"], height, xerr=half, fmt="o", capsize=3, color="#0b6cb3")
    labels = [f"{r['treated']}\n− {r['baseline']}" for r in reversed(rows)]
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.set_title(f"{metric} ({rows[0]['seeds']} seeds)")
    axes.locator_params(axis="x", nbins=5)  # more labels would write over each other
    axes.margins(y=0.3)

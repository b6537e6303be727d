"""How a quantity is spread over latents: recipes one above the other, weights side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.report.panel import weights_colours
from pipeline.results.pictures import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
_LABELS = {
    "firing_frequency": "share of tokens, log10",
    "token_entropy": "nats",
}


def picture(rows: Sequence[Row], quantity: str, path: Path) -> Path:
    """Writes the picture of rows (recipe, weights, seed, low, high, share); gives its path."""
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    colours = weights_colours(row["weights"] for row in rows)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(recipes), len(colours), sharex=True, sharey="row", squeeze=False)
        for line, recipe in zip(grid, recipes, strict=True):
            for axes, (weights, colour) in zip(line, colours.items(), strict=True):
                own = [r for r in rows if (r["recipe"], r["weights"]) == (recipe, weights)]
                _draw(axes, own, colour)
                axes.set_title(f"{recipe}\n{weights}", fontsize=7)
            line[0].set_ylabel("share of latents")
        for axes in grid[-1]:
            axes.set_xlabel(_LABELS[quantity])

    return drawn(path, (2.0 * len(colours) + 0.4, 1.7 * len(recipes) + 0.4), draw)


def _draw(axes: Any, rows: Sequence[Row], colour: str) -> None:
    for seed in sorted({row["seed"] for row in rows}):
        own = {row["low"]: row for row in rows if row["seed"] == seed}
        ends = [end for row in own.values() for end in (row["low"], row["high"])]
        step = min(row["high"] - row["low"] for row in own.values())
        edges = [min(ends) + step * i for i in range(round((max(ends) - min(ends)) / step) + 1)]
        heights = [_share(own, low, step) for low in edges[:-1]]
        axes.stairs(heights, edges, color=colour, linewidth=0.9, alpha=0.8)


def _share(rows: Mapping[float, Row], low: float, step: float) -> float:
    near = [row["share"] for at, row in rows.items() if abs(at - low) < step / 2]
    return near[0] if near else 0.0

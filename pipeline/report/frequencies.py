"""How often latents fire: histograms of SAEs on trained weights beside those on random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.panel import MUTED, Panel, legend, weights_colours
from pipeline.report.questions import BINS_PER_DECADE
from pipeline.report.sites import by_site

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]


def panels(rows: Sequence[Row]) -> list[Panel]:
    """One panel per model, site and recipe; one outline per SAE, silent latents at the left."""
    return [
        Panel(
            f"frequency.{place.replace(' ', '.')}",
            f"firing frequencies of the latents of {len({r['sae'] for r in here})} SAEs on {place}",
            _drawn(here, place),
        )
        for place, here in by_site(rows, "recipe").items()
    ]


def _drawn(rows: Sequence[Row], place: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        colours = weights_colours(row["weights"] for row in rows)
        fired = [row["bin"] for row in rows if row["bin"] is not None] or [-1.0]
        step = 1 / BINS_PER_DECADE
        n_bins = round((max(fired) - min(fired)) / step) + 1
        edges = [min(fired) + step * i for i in range(n_bins + 1)]
        never = edges[0] - 3 * step
        for sae in dict.fromkeys(row["sae"] for row in rows):
            mine = [row for row in rows if row["sae"] == sae]
            colour = colours[mine[0]["weights"]]
            heights = [0.0] * n_bins
            silent = 0.0
            for row in mine:
                share = 100 * row["n"] / float(row["n_latents"])
                if row["bin"] is None:
                    silent = share
                else:
                    heights[round((row["bin"] - edges[0]) / step)] = share
            axes.stairs(heights, edges, color=colour, linewidth=1.1, alpha=0.85)
            place_of = never + 0.12 * list(colours).index(mine[0]["weights"])
            axes.plot([place_of], [silent], marker="o", ms=3.5, color=colour, alpha=0.85)
        axes.axvline(edges[0] - step, color=MUTED, linewidth=0.8, linestyle=":")
        _axes(axes, edges, never)
        axes.set_title(place)
        legend(axes, colours)

    return draw


def _axes(axes: Axes, edges: Sequence[float], never: float) -> None:
    from math import ceil, floor

    decades = range(ceil(edges[0]), floor(edges[-1]) + 1)
    names = [f"{10.0 ** (decade + 2):g} %" for decade in decades]
    axes.set_xticks([never, *decades], ["never", *names])
    axes.set_xlim(never - 0.3, edges[-1] + 0.15)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y")
    axes.set_xlabel("share of held-out tokens on which a latent fires, log scale")
    axes.set_ylabel(f"% of latents per 1/{BINS_PER_DECADE} decade")

"""How often latents fire: histograms of SAEs on trained weights beside those on random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.panel import MUTED, Panel, legend, weights_colours
from pipeline.report.questions import BINS_PER_DECADE
from pipeline.report.sites import by_site

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

Row = Mapping[str, Any]


def panels(rows: Sequence[Row]) -> list[Panel]:
    """One panel per model, site and recipe; a line and a band over SAEs per weights variant.

    Silent latents are dots at the left.
    """
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
        for order, (weights, colour) in enumerate(colours.items()):
            mine = [row for row in rows if row["weights"] == weights]
            heights, silent = _heights(mine, edges[0], n_bins)
            mean = heights.mean(axis=0)
            axes.stairs(
                heights.max(axis=0),
                edges,
                baseline=heights.min(axis=0),
                fill=True,
                color=colour,
                alpha=0.22,
                linewidth=0,
            )
            axes.stairs(mean, edges, color=colour, linewidth=1.3)
            place_of = [never + 0.12 * order] * len(silent)
            axes.plot(place_of, silent, marker="o", ms=3.5, lw=0, color=colour, alpha=0.85)
        axes.axvline(edges[0] - step, color=MUTED, linewidth=0.8, linestyle=":")
        _axes(axes, edges, never)
        axes.set_title(place)
        legend(axes, colours)

    return draw


def _heights(rows: Sequence[Row], lowest: float, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """% of latents by SAE and bin (S, n_bins), and % of latents by SAE that never fired (S,)."""
    import numpy as np

    saes = list(dict.fromkeys(row["sae"] for row in rows))
    heights, silent = np.zeros((len(saes), n_bins)), np.zeros(len(saes))
    for row in rows:
        share = 100 * row["n"] / float(row["n_latents"])
        if row["bin"] is None:
            silent[saes.index(row["sae"])] = share
        else:
            at = round((row["bin"] - lowest) * BINS_PER_DECADE)
            heights[saes.index(row["sae"]), at] = share
    return heights, silent


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

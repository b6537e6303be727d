"""How training went: FVU of the training batches and the dead share against tokens seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.panel import Panel, legend, weights_colours
from pipeline.report.sites import by_site

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
_WIDE_RANGE = 4.0
_NAMES = {"fvu": "FVU (training batches)", "dead_share": "dead share of latents"}


def panels(rows: Sequence[Row], metric: str) -> list[Panel]:
    """One panel per model and site, one line per SAE."""
    mine = [row for row in rows if row["metric"] == metric]
    return [
        Panel(
            f"curve_{metric}.{place}",
            f"{_NAMES[metric]} against tokens of {len({r['sae'] for r in here})} SAEs on {place}",
            _drawn(here, metric, place),
        )
        for place, here in by_site(mine).items()
    ]


def _drawn(rows: Sequence[Row], metric: str, place: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, ScalarFormatter

        colours = weights_colours(row["weights"] for row in rows)
        lines: dict[str, list[Row]] = {}
        for row in rows:
            lines.setdefault(row["sae"], []).append(row)
        for line in lines.values():
            axes.plot(
                [row["tokens"] for row in line],
                [row["value"] for row in line],
                color=colours[line[0]["weights"]],
                linewidth=1,
                alpha=0.8,
            )
        axes.grid(visible=True)
        axes.set_title(place)
        axes.set_xlabel("training tokens")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlim(left=0)
        lowest, highest = min(r["value"] for r in rows), max(r["value"] for r in rows)
        if metric == "fvu" and lowest > 0 and highest / lowest > _WIDE_RANGE:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_ylabel(f"{_NAMES[metric]}, log scale")
        else:
            top = max(0.05, 1.05 * highest)
            axes.set_ylim(-0.02 * top, top)
            axes.set_ylabel(_NAMES[metric])
        legend(axes, colours)

    return draw

"""What a sparser code costs: FVU and loss recovered against L0, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.panel import Panel, legend, weights_colours
from pipeline.report.sites import by_site

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
_SHOWN = {
    "fvu": ("FVU (lower is better)", "dominated"),
    "loss_recovered_zero": ("loss recovered (higher is better)", "loss_dominated"),
}
_MARKERS = "osD^vP*X"
_WIDE_RANGE = 4.0


def panels(rows: Sequence[Row], metric: str) -> list[Panel]:
    """One panel per model and site: every SAE that has both numbers."""
    known = [row for row in rows if row["l0"] is not None and row[metric] is not None]
    return [
        Panel(
            f"{metric}_l0.{place}",
            f"{_SHOWN[metric][0]} against L0 of {len(mine)} SAEs on {place}, 95 % intervals",
            _drawn(mine, metric, place),
        )
        for place, mine in by_site(known).items()
    ]


def _drawn(rows: Sequence[Row], metric: str, place: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        colours = weights_colours(row["weights"] for row in rows)
        recipes = sorted({row["recipe"] for row in rows})
        for weights, colour in colours.items():
            mine = [row for row in rows if row["weights"] == weights]
            for row in mine:
                _point(axes, row, metric, colour, _MARKERS[recipes.index(row["recipe"]) % 8])
            best = [row for row in mine if row[_SHOWN[metric][1]] is False]
            best.sort(key=lambda row: row["l0"])
            axes.plot(
                [row["l0"] for row in best], [row[metric] for row in best], color=colour, lw=1
            )
        _axes(axes, rows, metric)
        axes.set_title(place)
        legend(axes, colours)

    return draw


def _point(axes: Axes, row: Row, metric: str, colour: str, marker: str) -> None:
    x, y = row["l0"], row[metric]
    axes.errorbar(
        [x],
        [y],
        xerr=_reach(row, "l0", x),
        yerr=_reach(row, metric, y),
        color=colour,
        marker=marker,
        markersize=4,
        linewidth=0,
        elinewidth=1,
        capsize=2.5,
        alpha=0.85,
    )


def _reach(row: Row, metric: str, value: float) -> list[list[float]] | None:
    low, high = row[f"{metric}_ci_low"], row[f"{metric}_ci_high"]
    if low is None or high is None:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _axes(axes: Axes, rows: Sequence[Row], metric: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    l0 = [row["l0"] for row in rows]
    axes.grid(visible=True)
    axes.set_xlabel("L0 (active latents per token)")
    axes.set_ylabel(_SHOWN[metric][0])
    if min(l0) > 0 and max(l0) / min(l0) > _WIDE_RANGE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        low, high = min(l0), max(l0)
        room = max(0.1 * (high - low), 0.1 * high, 0.5)
        axes.set_xlim(max(0.0, low - room), high + room)
    if metric == "fvu":
        axes.set_ylim(bottom=0)
    elif all(0 <= row[metric] <= 1 for row in rows):
        axes.set_ylim(top=1.0)

"""What a sparser code costs: FVU, MSE and loss recovered against L0, with intervals."""

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
    "mse": ("MSE (lower is better)", "dominated"),
    "loss_recovered_zero": ("loss recovered (higher is better)", "loss_dominated"),
}
_MARKERS = "osD^vP*X"
_WIDE_RANGE = 4.0
_APART, _APART_ALL = 2.5, 10.0


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
            best = [
                (row["l0"], row[metric])
                for row in rows
                if row["weights"] == weights and row[_SHOWN[metric][1]] is False
            ]
            if best:
                axes.plot(*zip(*sorted(best), strict=True), color=colour, linewidth=1)
        for row, aside in zip(rows, _asides(rows), strict=True):
            marker = _MARKERS[recipes.index(row["recipe"]) % len(_MARKERS)]
            _point(axes, row, metric, colours[row["weights"]], marker, aside)
        _axes(axes, rows, metric)
        axes.set_title(place)
        legend(axes, colours, dict(zip(recipes, _MARKERS, strict=False)))

    return draw


def _asides(rows: Sequence[Row]) -> list[float]:
    """How far each mark stands to the right of its L0, in points.

    Weights variants that share an L0 stand a little apart, far less than a tick of the axis.
    """
    alike: dict[str, list[str]] = {}
    for row in rows:
        found = alike.setdefault(f"{row['l0']:.3g}", [])
        if row["weights"] not in found:
            found.append(row["weights"])
    asides = []
    for row in rows:
        group = alike[f"{row['l0']:.3g}"]
        step = min(_APART, _APART_ALL / len(group))
        asides.append((group.index(row["weights"]) - (len(group) - 1) / 2) * step)
    return asides


def _point(axes: Axes, row: Row, metric: str, colour: str, marker: str, aside: float) -> None:
    from matplotlib.transforms import ScaledTranslation

    x, y = row["l0"], row[metric]
    moved = ScaledTranslation(aside / 72, 0, axes.figure.dpi_scale_trans)
    axes.update_datalim([(x, y)])
    axes.errorbar(
        [x],
        [y],
        xerr=_reach(row, "l0", x),
        yerr=_reach(row, metric, y),
        color=colour,
        marker=marker,
        markersize=3.5,
        linewidth=0,
        elinewidth=1,
        capsize=2,
        transform=axes.transData + moved,
    )


def _reach(row: Row, metric: str, value: float) -> list[list[float]] | None:
    low, high = row[f"{metric}_ci_low"], row[f"{metric}_ci_high"]
    if low is None or high is None:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _axes(axes: Axes, rows: Sequence[Row], metric: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axes.grid(visible=True)
    axes.set_xlabel("L0 (active latents per token)")
    axes.set_ylabel(_SHOWN[metric][0])
    low, high = _span(rows, "l0")
    if low > 0 and high / low > _WIDE_RANGE:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.3, high * 1.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        room = max(0.15 * (high - low), 0.1 * high, 0.5)
        axes.set_xlim(max(0.0, low - room), high + room)
    low, high = _span(rows, metric)
    if metric == "mse" and low > 0 and high / low > _WIDE_RANGE:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.3)
        return
    room = 0.12 * (high - low) or 0.05
    axes.set_ylim(low - room, high + room)


def _span(rows: Sequence[Row], metric: str) -> tuple[float, float]:
    """The lowest and highest of the values and the ends of their intervals."""
    names = (metric, f"{metric}_ci_low", f"{metric}_ci_high")
    found = [row[name] for row in rows for name in names if row[name] is not None]
    return min(found), max(found)

"""Small pictures of a training run, as PNG bytes, for pages that show them inline."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (5.4, 2.6)  # 540 pixels wide: fits the metadata pane of the UI
_ROW_INCHES = 1.5
_DPI = 100


class Point(Protocol):
    """One value of one metric at one place of the training curve."""

    @property
    def tokens(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float: ...


def curve_picture(rows: Iterable[Point]) -> bytes:
    """Every metric of a training curve against tokens seen, in small panels.

    FVU (log scale), L0 and the dead share stand first, then the loss and its terms, then what
    tells how training went; shares of time spent waiting are left to the tables.
    """
    points = list(rows)
    known = dict.fromkeys(point.metric for point in points)
    terms = [name for name in known if name not in _PLACES and name not in _LEFT_OUT]
    first, last = _PLACES[: -len(_LAST)], _LAST
    shown = [name for name in (*first, *terms, *last) if name in known]
    figure, axes = _figure(max(1, len(shown)), n_columns=3)
    for axis, name in zip(axes, shown, strict=False):
        series = [p for p in points if p.metric == name and math.isfinite(p.value)]
        axis.plot([p.tokens for p in series], [p.value for p in series], linewidth=1.2)
        axis.set_title(_TITLES.get(name, name.replace("_", " ")), fontsize=8)
        if name == "fvu" and series and min(p.value for p in series) > 0:
            axis.set_yscale("log")
    return _png(figure)


def frequency_picture(frequency: Sequence[float]) -> bytes:
    """Histogram of log10 firing frequency over the f latents; those that never fired stand left."""
    values = [float(v) for v in frequency]
    alive = [math.log10(v) for v in values if v > 0]
    n_dead = len(values) - len(alive)
    figure, (axis,) = _figure(1)
    if alive:
        axis.hist(alive, bins=40, color="tab:blue")
    if n_dead:
        lowest = min(alive, default=-6.0)
        axis.bar(
            [lowest - 0.5], [n_dead], width=0.3, color="tab:red", label=f"{n_dead} never fired"
        )
        axis.legend(fontsize=7)
    axis.set_title(f"firing frequency of {len(values)} latents", fontsize=8)
    axis.set_xlabel("log10(share of tokens on which the latent fires)", fontsize=7)
    axis.set_ylabel("latents", fontsize=7)
    return _png(figure)


_TITLES = {
    "fvu": "FVU (training batches)",
    "l0": "L0",
    "lr": "learning rate",
    "tokens_per_second": "tokens / s",
}
_LAST = ("lr", "gradient_norm", "tokens_per_second")
_PLACES = ("fvu", "l0", "dead_share", "loss", *_LAST)
_LEFT_OUT = ("wait_share",)


def _figure(n_axes: int, *, n_columns: int = 3) -> tuple[Figure, list[Axes]]:
    # Figure without pyplot: no global state, no display, the Agg canvas only
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_rows = -(-n_axes // n_columns)
    height = max(_SIZE_INCHES[1], _ROW_INCHES * n_rows)
    figure = Figure(figsize=(_SIZE_INCHES[0], height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    columns = min(n_axes, n_columns)
    axes = [figure.add_subplot(n_rows, columns, i + 1) for i in range(n_axes)]
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.grid(visible=True, alpha=0.3)
    for axis in axes[-columns:]:
        axis.set_xlabel("tokens", fontsize=7)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

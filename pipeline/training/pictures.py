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
    """FVU (log scale), L0 and the dead share against tokens seen, side by side."""
    points = list(rows)
    shown = [name for name in ("fvu", "l0", "dead_share") if any(p.metric == name for p in points)]
    figure, axes = _figure(max(1, len(shown)))
    for axis, name in zip(axes, shown, strict=False):
        series = [p for p in points if p.metric == name and math.isfinite(p.value)]
        axis.plot([p.tokens for p in series], [p.value for p in series], linewidth=1.2)
        axis.set_title(_TITLES[name], fontsize=8)
        axis.set_xlabel("tokens", fontsize=7)
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


_TITLES = {"fvu": "FVU (training batches)", "l0": "L0", "dead_share": "dead share"}


def _figure(n_axes: int) -> tuple[Figure, list[Axes]]:
    # Figure without pyplot: no global state, no display, the Agg canvas only
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, n_axes, i + 1) for i in range(n_axes)]
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.grid(visible=True, alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

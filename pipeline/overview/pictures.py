"""Small pictures of comparisons, as PNG bytes, at most 540 pixels wide."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.overview.dictionary_matches import Match
from pipeline.overview.latent_profiles import Bin, places
from pipeline.overview.random_baselines import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sae_core.frontier_comparison import Arm

_WIDTH_INCHES, _ROW_INCHES = 5.4, 2.5
_COLUMNS = 2
_DPI = 100
_MOST_PANELS = 8
_AXES = {
    "firing_frequency": "log10 of the firing frequency",
    "token_entropy": "token entropy (nats)",
}
_SHOWN = ("fvu", "l0", "dead_eval", "ce_increase_nats")


def baselines_picture(found: Sequence[Comparison]) -> bytes:
    """Trained against random, one point per pair, one panel per metric; the line is equality."""
    shown = [name for name in _SHOWN if any(c.metric == name for c in found)]
    figure, axes = _figure(max(1, len(shown)))
    for axis, name in zip(axes, shown, strict=False):
        pairs = [
            (c.random, c.trained)
            for c in found
            if c.metric == name and c.random is not None and c.trained is not None
        ]
        axis.scatter([x for x, _ in pairs], [y for _, y in pairs], s=14)
        ends = [value for pair in pairs for value in pair] or [0.0, 1.0]
        axis.plot([min(ends), max(ends)], [min(ends), max(ends)], color="gray", linewidth=0.8)
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("random weights", fontsize=7)
        axis.set_ylabel("trained weights", fontsize=7)
    return _png(figure)


def matches_picture(found: Sequence[Match]) -> bytes:
    """MMCS of every pair, grouped by kind of pair, with random directions as crosses."""
    kinds = sorted({match.pair for match in found})
    figure, (axis,) = _figure(1)
    for place, kind in enumerate(kinds):
        mine = [match for match in found if match.pair == kind]
        both = [v for m in mine for v in (m.mmcs_ab, m.mmcs_ba) if v is not None]
        null = [m.mmcs_null_ab for m in mine if m.mmcs_null_ab is not None]
        axis.scatter(
            [place] * len(both), both, s=14, color="tab:blue", label="MMCS" if not place else None
        )
        axis.scatter(
            [place] * len(null),
            null,
            s=14,
            marker="x",
            color="gray",
            label="random directions" if not place else None,
        )
    axis.set_xticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds], fontsize=7)
    axis.set_ylim(0, 1.02)
    axis.margins(x=0.4)
    axis.set_ylabel("MMCS", fontsize=7)
    if kinds:
        axis.legend(fontsize=7)
    return _png(figure)


def histograms_picture(found: Sequence[Bin], quantity: str) -> bytes:
    """How a quantity is spread over latents: one panel per recipe and site, a line per weights."""
    shown = [one for one in found if one.quantity == quantity]
    names = places(shown)[:_MOST_PANELS]
    figure, axes = _figure(max(1, len(names)))
    for axis, name in zip(axes, names, strict=False):
        mine = [one for one in shown if one.place == name]
        for weights in dict.fromkeys(one.weights for one in mine):
            bins = sorted((one for one in mine if one.weights == weights), key=lambda b: b.low)
            middles = [(one.low + one.high) / 2 for one in bins]
            width = 1.6 if weights == "trained" else 0.9
            axis.plot(middles, [one.share for one in bins], label=weights, linewidth=width)
        axis.set_title(name, fontsize=7)
        axis.set_xlabel(_AXES[quantity], fontsize=7)
        axis.set_ylabel("share of latents", fontsize=7)
        axis.set_ylim(bottom=0)
    if names:
        axes[0].legend(fontsize=6)
    return _png(figure)


def frontier_picture(families: Mapping[str, Sequence[Arm]], quantity: str) -> bytes:
    """A point per recipe (its mean over seeds) and a line along each family's frontier."""
    from sae_core.frontier_comparison import family_frontier

    figure, (axis,) = _figure(1)
    for name, arms in families.items():
        points = [family_frontier([arm]) for arm in arms]
        (dots,) = axis.plot(
            [float(one.l0[0]) for one in points], [float(one.loss[0]) for one in points], "o", ms=3
        )
        best = family_frontier(arms)
        axis.plot(best.l0, best.loss, color=dots.get_color(), linewidth=1, label=name)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("L0", fontsize=7)
    axis.set_ylabel(quantity.replace("_", " "), fontsize=7)
    if families:
        axis.legend(fontsize=7)
    return _png(figure)


def _figure(n_axes: int) -> tuple[Figure, list[Axes]]:
    # Figure without pyplot: no global state, no display, the Agg canvas only
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(n_axes, _COLUMNS)
    rows = -(-n_axes // columns)
    size = (_WIDTH_INCHES, _ROW_INCHES * rows)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(n_axes)]
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.grid(visible=True, alpha=0.3)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

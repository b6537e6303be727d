"""One figure of the report: drawn once, written as SVG for the page and as SVG and PNG files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 24
_SHORT_NAME, _LONG_NAME = 14, 26

INK, MUTED, GRID = "#1b2026", "#59636e", "#d8dde3"
# Told apart with any common colour blindness (after Okabe and Ito, darkened for thin lines).
SERIES = ("#0b6cb3", "#cc5200", "#00805a", "#b0478c", "#8a6d00", "#5a5fd0", "#777777")
_ON_PAGE = {INK: "ink", MUTED: "muted", GRID: "grid"} | {
    colour: f"series-{i}" for i, colour in enumerate(SERIES)
}
_WEIGHTS = ("trained", "random", "random_except_embeddings", "permuted")
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Panel:
    """A figure: file name, what it shows in a sentence, its size in inches, how it is drawn."""

    name: str
    label: str
    draw: Callable[[Axes], None]
    size: tuple[float, float] = (3.7, 3.0)

    def inline(self) -> str:
        """SVG for the page: it takes the page's colours and font and refers to nothing outside."""
        svg = self._saved("svg", background="none").decode()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", svg)
        svg = _own_ids(svg, self.name)
        svg = re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font-size: \1px", svg)
        for colour, name in _ON_PAGE.items():
            svg = svg.replace(colour, f"var(--{name})")
        return svg

    def svg(self) -> bytes:
        """The figure as an SVG file, on white."""
        return self._saved("svg", background="white")

    def png(self) -> bytes:
        """The figure as a PNG file, on white, 200 dots per inch."""
        return self._saved("png", background="white")

    def _saved(self, format: str, *, background: str) -> bytes:
        import matplotlib

        buffer = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            figure = _figure(self.size)
            self.draw(figure.axes[0])
            metadata = {"Date": None} if format == "svg" else None
            figure.savefig(buffer, format=format, dpi=200, facecolor=background, metadata=metadata)
        return buffer.getvalue()


def weights_colours(weights: Iterable[str]) -> dict[str, str]:
    """A colour per weights variant: the usual ones keep theirs on every page."""
    found = set(weights)
    order = [w for w in _WEIGHTS if w in found] + sorted(found - set(_WEIGHTS))
    usual = {w: SERIES[i] for i, w in enumerate(_WEIGHTS)}
    others = [w for w in order if w not in usual]
    rest = SERIES[len(_WEIGHTS) :]
    return {w: usual.get(w) or rest[others.index(w) % len(rest)] for w in order}


def legend(
    axes: Axes, colours: Mapping[str, str], markers: Mapping[str, str] | None = None
) -> None:
    """Below the figure: weights variants in their colours; recipes by mark, from two on."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2.5) for colour in colours.values()]
    names = list(colours)
    if markers and len(markers) > 1:
        handles += [Line2D([], [], color=MUTED, marker=m, lw=0, ms=4) for m in markers.values()]
        names += list(markers)
    longest = max(map(len, names))
    columns = 3 if longest <= _SHORT_NAME else 2 if longest <= _LONG_NAME else 1
    axes.figure.legend(
        handles,
        names,
        title="weights" if not markers or len(markers) < 2 else "weights and recipes",
        loc="outside lower center",
        ncols=columns,
        handlelength=1.4,
    )


def _own_ids(svg: str, name: str) -> str:
    """Ids that are referred to get the panel's name in front; the others go."""
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    ids = re.findall(r' id="([^"]*)"', svg)
    known = {one.removeprefix(f"{name}-") for one in ids}
    return re.sub(
        r'(href="|url\()#([\w-]+)',
        lambda m: f"{m[1]}#{name}-{m[2]}" if m[2] in known else m[0],
        svg,
    )


def _figure(size: tuple[float, float]) -> Figure:
    # Figure without pyplot: no global state, no display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.add_subplot(1, 1, 1)
    return figure

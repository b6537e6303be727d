"""How alike dictionaries are: MMCS of pairs that were matched, from each row to each column.

Up to a dozen SAEs have a row each; of more, the seeds of one source and recipe share a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.panel import GRID, MUTED, Panel
from pipeline.report.sites import by_site

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
_MOST_SAES, _MOST_NUMBERS = 12, 16


def panels(rows: Sequence[Row]) -> list[Panel]:
    """One panel per model and site; rows and columns are its SAEs."""
    made = []
    for place, here in by_site(rows).items():
        values, title = pairs(here), place
        n_saes = len({name for pair in values for name in pair})
        if n_saes > _MOST_SAES:
            values, title = over_seeds(values), f"{place}, means over seeds"
        names = sorted({name for pair in values for name in pair}, key=_order)
        side = min(9.0, max(3.7, 1.9 + 0.42 * len(names)))
        label = f"MMCS between the dictionaries of {n_saes} SAEs on {place}"
        made.append(Panel(f"mmcs.{place}", label, _drawn(names, values, title), (side, side)))
    return made


def pairs(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    """(a, b) -> mean over a's living latents of the best cosine in b."""
    back = {(row["sae_b"], row["sae_a"]): row["mmcs_ba"] for row in rows}
    there = {(row["sae_a"], row["sae_b"]): row["mmcs_ab"] for row in rows}
    return {pair: value for pair, value in (back | there).items() if value is not None}


def over_seeds(values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """(a, b) without seeds -> mean over the pairs of their seeds; (a, a): between its seeds."""
    found: dict[tuple[str, str], list[float]] = {}
    for (a, b), value in values.items():
        found.setdefault((_without_seed(a), _without_seed(b)), []).append(value)
    return {pair: sum(mine) / len(mine) for pair, mine in found.items()}


def _without_seed(sae: str) -> str:
    source, _, key = sae.partition("/")
    return f"{source}/{key.rpartition('.s')[0] or key}"


def short_name(sae: str) -> str:
    """`random topk16.s0` of `pylm.random.resid_post.1/topk16.s0`."""
    source, _, key = sae.partition("/")
    return f"{'.'.join(source.split('.')[1:-2])} {key}"


def _order(sae: str) -> tuple[str, bool, str, str]:
    """Recipes beside themselves, trained weights first."""
    weights, key = short_name(sae).split(" ", 1)
    recipe = _without_seed(sae).partition("/")[2]
    return recipe, weights != "trained", weights, key


def _drawn(
    names: Sequence[str], values: Mapping[tuple[str, str], float], title: str
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        from matplotlib import colormaps
        from matplotlib.patches import Rectangle

        colours = colormaps["viridis"]
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                value = values.get((a, b))
                if a == b and value is None:
                    continue
                face = GRID if value is None else colours(min(1.0, max(0.0, value)))
                axes.add_patch(Rectangle((j, i), 0.96, 0.96, facecolor=face, linewidth=0))
                if value is not None and len(names) <= _MOST_NUMBERS:
                    ink = "white" if value < 0.6 else "black"
                    text = f"{value:.2f}"
                    axes.text(j + 0.48, i + 0.5, text, color=ink, ha="center", va="center", size=7)
        axes.set_xlim(0, len(names))
        axes.set_ylim(len(names), 0)
        axes.set_aspect("equal")
        ticks = [i + 0.48 for i in range(len(names))]
        labels = [_label(name) for name in names]
        axes.set_xticks(ticks, labels, rotation=90)
        axes.set_yticks(ticks, labels)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(title)
        axes.set_xlabel("to: best match among these latents")
        axes.set_ylabel("from: mean over these living latents")
        _scale(axes)

    return draw


def _label(sae: str) -> str:
    return short_name(sae).replace("random_except_embeddings", "rand. exc. emb.")


def _scale(axes: Axes) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(0, 1), colormaps["viridis"].resampled(32))
    bar = axes.figure.colorbar(scale, ax=axes, shrink=0.6, pad=0.03, drawedges=False)
    bar.solids.set_edgecolor("face")
    bar.outline.set_edgecolor(MUTED)
    bar.set_label("MMCS (grey: not matched)")

"""Small pictures of evaluations, as PNG bytes, for pages that show them inline."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
_WIDTH_INCHES = 5.4  # 540 pixels: fits the metadata pane of the UI
_SHOWN = {"fvu": "FVU", "l0": "L0", "ce_increase_nats": "CE increase (nats)"}
_PAIRS = {
    "other_seed": "other seed",
    "other_weights": "other weights",
    "other_width": "other width",
}
_PROBES = {
    ("latents", 1): ("1 latent", "tab:blue", "o"),
    ("latents", 5): ("5 latents", "tab:blue", "s"),
    ("neurons", 1): ("1 coordinate", "tab:orange", "o"),
    ("random_dictionary", 1): ("1 random direction", "tab:red", "x"),
    ("token", -1): ("token id", "0.4", "|"),
    ("dense", -1): ("all of x", "tab:green", "^"),
}


def trained_vs_random_picture(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Values of SAEs on trained weights (dots) beside their twins on other weights (crosses).

    `rows` are those of the view `trained_vs_random`; one panel per metric, one line per SAE.
    """
    panels = [name for name in _SHOWN if any(_is_shown(row, name) for row in rows)]
    figure, axes = _figure(max(1, len(panels)), height=1.2 + 0.16 * _n_lines(rows))
    for axis, name in zip(axes, panels, strict=False):
        shown = [row for row in rows if _is_shown(row, name)]
        lines = sorted({str(row["sae_trained"]) for row in shown}, reverse=True)
        place = {sae: i for i, sae in enumerate(lines)}
        for row in shown:
            y = place[str(row["sae_trained"])]
            axis.plot([row["trained"], row["random"]], [y, y], color="0.75", linewidth=1, zorder=1)
            axis.scatter([row["trained"]], [y], color="tab:blue", s=16, zorder=3)
            axis.scatter([row["random"]], [y], color="tab:red", marker="x", s=16, zorder=2)
        axis.set_title(_SHOWN[name], fontsize=8)
        labels = [_brief(sae) for sae in lines] if axis is axes[0] else []
        axis.set_yticks(range(len(lines)), labels or [""] * len(lines), fontsize=6)
        axis.margins(y=0.6 / max(len(lines), 1))
    if not panels:
        _say(axes[0], "no SAE has a twin on other weights yet")
    else:
        figure.supxlabel("blue dots: trained weights    red crosses: other weights", fontsize=7)
    return _png(figure)


def match_picture(rows: Sequence[Mapping[str, object]]) -> bytes:
    """MMCS of matched dictionaries by kind of pair, with what random directions would score.

    `rows` are those of the table `dictionary_matches`; each pair counts in both directions.
    """
    figure, (axis,) = _figure(1, height=2.4)
    kinds = [kind for kind in _PAIRS if any(row["pair"] == kind for row in rows)]
    for i, kind in enumerate(kinds):
        mine = [row for row in rows if row["pair"] == kind]
        values = [row[side] for row in mine for side in ("mmcs_ab", "mmcs_ba")]
        known = [float(v) for v in values if v is not None]
        offsets = [0.5 * (j / max(len(known) - 1, 1) - 0.5) for j in range(len(known))]
        axis.scatter([i + offset for offset in offsets], known, s=12, color="tab:blue", zorder=2)
        nulls = [float(row["mmcs_null_ab"]) for row in mine if row["mmcs_null_ab"] is not None]
        if nulls:
            level = sum(nulls) / len(nulls)
            axis.plot([i - 0.35, i + 0.35], [level, level], color="tab:red", linewidth=1.2)
    if kinds:
        axis.set_xticks(range(len(kinds)), [_PAIRS[kind] for kind in kinds], fontsize=7)
        axis.set_xlim(-0.5, len(kinds) - 0.5)
        axis.set_ylim(0, 1.02)
        axis.set_title("MMCS of living latents; red: random directions", fontsize=8)
    else:
        _say(axis, "no dictionaries have been matched yet")
    return _png(figure)


def probe_picture(probes: Mapping[str, np.ndarray]) -> bytes:
    """AUC of labelled tokens on probe-test by what is read, a line per label.

    `probes` are the arrays of the metric `sparse_probing`, empty where there were no labels.
    """
    rows = range(len(probes["probe"])) if probes else range(0)
    known = {
        (str(probes["probe"][i]), int(probes["k"][i]), str(probes["label"][i])): probes["auc"][i]
        for i in rows
        if probes["auc"][i] == probes["auc"][i]
    }
    labels = sorted(
        {label for _, _, label in known}, key=lambda label: (known["latents", 1, label], label)
    )
    figure, (axis,) = _figure(1, height=1.4 + 0.16 * max(len(labels), 4))
    if not labels:
        _say(axis, "no label was probed")
        return _png(figure)
    for (probe, k), (name, color, marker) in _PROBES.items():
        values = [known.get((probe, k, label), float("nan")) for label in labels]
        axis.scatter(values, range(len(labels)), s=14, color=color, marker=marker, label=name)
    axis.axvline(0.5, color="0.6", linewidth=1)
    axis.set_yticks(range(len(labels)), labels, fontsize=6)
    axis.set_title("AUC of labelled tokens, on documents not used to choose", fontsize=8)
    axis.legend(fontsize=6, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return _png(figure)


def _is_shown(row: Mapping[str, object], metric: str) -> bool:
    known = row.get("trained") is not None and row.get("random") is not None
    return row.get("metric") == metric and known


def _n_lines(rows: Sequence[Mapping[str, object]]) -> int:
    return max(4, min(40, len({row["sae_trained"] for row in rows})))


def _brief(sae: str) -> str:
    """`resid_post.3/topk16.s0` of a full id: model and weights are the same for all."""
    source, _, key = sae.partition("/")
    return f"{'.'.join(source.split('.')[-2:])}/{key}"


def _say(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=8)
    axis.set_axis_off()


def _figure(n_axes: int, *, height: float) -> tuple[Figure, list[Axes]]:
    # Figure without pyplot: no global state, no display, the Agg canvas only
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=_DPI, layout="constrained")
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

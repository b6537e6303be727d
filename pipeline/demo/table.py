"""The table that the demo ends with, for terminals of 80 columns and more."""

from __future__ import annotations

from itertools import groupby

from pipeline.demo.results import Row

_WIDE = 100
_HEAD = (
    ("", "", "", "loss", "compute", "dead", "MMCS", "MMCS"),
    ("L0", "FVU", "95 %", "recov.", "recov.", "latents", "seed", "random"),
)


def table(rows: list[Row], *, columns: int) -> str:
    """The rows under a heading per site; wide terminals get FVU's interval as well."""
    wide = columns >= _WIDE
    names = max((len(row.weights) for row in rows), default=0)
    lines = [_line(" " * (names + 6), _shown(head, wide)) for head in _HEAD]
    for site, group in groupby(rows, key=lambda row: row.site):
        lines.append(site)
        for row in group:
            label = f"  {row.weights:<{names}} s{row.seed}"
            lines.append(_line(f"{label:<{names + 6}}", _shown(_cells(row), wide)))
    return "\n".join([*lines, "", *_legend(columns)])


def _cells(row: Row) -> tuple[str, ...]:
    interval = "" if row.fvu_ci_low is None else f"{row.fvu_ci_low:.3f}-{row.fvu_ci_high:.3f}"
    return (
        _number(row.l0, 1),
        _number(row.fvu, 3),
        interval,
        _number(row.loss_recovered, 3),
        _number(row.compute_recovered, 3),
        "–" if row.dead_share is None else f"{row.dead_share:.1%}",
        _number(row.mmcs_seed, 2),
        _number(row.mmcs_random, 2),
    )


def _shown(cells: tuple[str, ...], wide: bool) -> list[tuple[str, int]]:
    """The cells with their widths; the interval only where there is room."""
    widths = (6, 6, 13, 7, 8, 8, 6, 7)
    return [(c, w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)) if wide or i != 2]


def _line(label: str, cells: list[tuple[str, int]]) -> str:
    return (label + "".join(f"{cell:>{width}}" for cell, width in cells)).rstrip()


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _legend(columns: int) -> list[str]:
    import textwrap

    text = (
        "L0: active latents per token. FVU: share of the variance that is lost. Loss recovered: "
        "between ablating the site to zero (0) and the untouched model (1). Compute recovered: "
        "share of the model's pre-training that would reach the same loss. Dead: latents that "
        "never fire on held-out text. MMCS: how alike the dictionary is to the one of the other "
        'seed, and to its twin on random weights. –: cannot be told; `sae sql "select sae, '
        'metric, reason from metrics where value is null"` says why.'
    )
    return textwrap.wrap(text, width=min(columns, 100))

"""`report`: asks, draws, and writes the page and, where asked for, the figures as files."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import atomic
from pipeline.progress import Progress, Report, silent
from pipeline.report.answers import Answers, answers
from pipeline.report.ask import asking
from pipeline.report.latents import latents
from pipeline.report.page import page
from pipeline.report.panel import Panel
from pipeline.workspace import Workspace

_BEST = ("fvu_l0", "frequency", "mmcs")


@dataclass(frozen=True)
class Written:
    """What was made: the page, its size, how many SAEs, files of figures, a few to show."""

    page: Path
    n_bytes: int
    n_saes: int
    figures: tuple[Path, ...]
    seconds: float
    best_figures: Mapping[str, Panel]


def write_report(
    workspace: Workspace,
    output: Path,
    *,
    study: str | None = None,
    figures: Path | None = None,
    report: Report = silent,
) -> Written:
    """Writes the page to `output`, whole or not at all; `figures` is a folder for PNG and SVG.

    Raises StudyError for an unknown study and NothingToReport where no SAE is there.
    """
    began = time.monotonic()
    report(Progress("tables", 0, 1, "answers"))
    with asking(workspace) as ask:
        found = answers(workspace, ask, study)
        report(Progress("tables", 1, 1, "answers"))
        browsed = latents(ask, found.rows["saes"], report=report)
    report(Progress("page", 0, 1, "pages"))
    now = datetime.datetime.now(datetime.UTC)
    text = page(found, browsed, made_at=now).encode()
    atomic.write_bytes(output, text)
    files = () if figures is None else _write_figures(found, figures, report)
    return Written(
        page=output,
        n_bytes=len(text),
        n_saes=len(found.rows["saes"]),
        figures=files,
        seconds=time.monotonic() - began,
        best_figures={kind: found.figures[kind][1][0] for kind in _BEST if found.figures[kind][1]},
    )


def _write_figures(found: Answers, folder: Path, report: Report) -> tuple[Path, ...]:
    """Every figure as PNG and SVG, and beside each the query that made it."""
    panels = [(found.sql[name], p) for name, made in found.figures.values() for p in made]
    written = []
    for done, (sql, panel) in enumerate(panels):
        report(Progress("figures", done, len(panels), "figures", panel.name))
        for ending, data in (
            ("png", panel.png()),
            ("svg", panel.svg()),
            ("sql", f"-- {panel.label}\n{sql.strip()}\n".encode()),
        ):
            path = folder / f"{panel.name}.{ending}"
            atomic.write_bytes(path, data)
            written.append(path)
    return tuple(written)

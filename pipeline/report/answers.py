"""All that the page's text, tables and figures rest on: queries and their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.errors import StudyError, UserError, did_you_mean
from pipeline.report import curves, frequencies, frontier, heat_map, questions
from pipeline.report.ask import Ask
from pipeline.report.panel import Panel
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace

Rows = Sequence[Mapping[str, Any]]


class NothingToReport(UserError):
    """A workspace, or a study, without any SAE."""


@dataclass(frozen=True)
class Answers:
    """Query name -> its SQL and its rows; figures are drawn from the rows alone."""

    study: str | None
    sql: Mapping[str, str]
    rows: Mapping[str, Rows]

    @cached_property
    def figures(self) -> dict[str, tuple[str, list[Panel]]]:
        """Kind of figure -> the query that made it, its panels."""
        rows = self.rows
        return {
            "fvu_l0": ("frontier", frontier.panels(rows["frontier"], "fvu")),
            "mse_l0": ("frontier", frontier.panels(rows["frontier"], "mse")),
            "loss_recovered_l0": (
                "frontier",
                frontier.panels(rows["frontier"], "loss_recovered_zero"),
            ),
            "curve_fvu": ("curves", curves.panels(rows["curves"], "fvu")),
            "curve_dead": ("curves", curves.panels(rows["curves"], "dead_share")),
            "frequency": ("frequencies", frequencies.panels(rows["frequencies"])),
            "mmcs": ("matches", heat_map.panels(rows["matches"])),
        }


def answers(workspace: Workspace, ask: Ask, study: str | None) -> Answers:
    """The rows of every query, about all SAEs of the workspace or those of one study.

    Raises StudyError for an unknown study, NothingToReport where no SAE is there.
    """
    saes = None if study is None else _of_study(workspace, ask, study)
    sql = {"studies": questions.STUDIES, "definitions": questions.DEFINITIONS}
    sql |= {name: questions.about(text, saes) for name, text in questions.ABOUT_SAES.items()}
    rows = {name: ask(text).to_pylist() for name, text in sql.items()}
    if not rows["saes"]:
        what = f"study {study!r}" if study else f"workspace {workspace.root}"
        raise NothingToReport(
            f"The {what} has no trained SAE yet, so there is nothing to report. "
            "Make some with `sae run STUDY` or `sae demo`; `sae status` tells what exists."
        )
    if study is not None:
        rows["studies"] = [row for row in rows["studies"] if row["study"] == study]
    return Answers(study, sql, rows)


def _of_study(workspace: Workspace, ask: Ask, name: str) -> list[str]:
    """SAEs of the study's models and recipes: backfilled layers and seeds belong to it too."""
    known = Registry.load(workspace).studies
    if name not in known:
        raise StudyError(
            f"--study {name} is not a study of {workspace.root}. {did_you_mean(name, known)}"
        )
    study = known[name]
    found = ask("SELECT sae, model, recipe FROM evaluations ORDER BY sae").to_pylist()
    return [
        row["sae"]
        for row in found
        if row["model"] in study.models and row["recipe"] in study.recipes
    ]

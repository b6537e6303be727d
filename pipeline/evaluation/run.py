"""Evaluating the SAEs of one source: what is missing, all together, in one sweep.

Beside an SAE it leaves documents-*.npz (sums per document), match-*.json (one per matched
neighbour) and, last, evaluation-*.json. The rows are in the tables before that file is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pipeline.errors import StudyError
from pipeline.evaluation.identity import Evaluation, identify, identify_all
from pipeline.evaluation.record import read_record
from pipeline.launch.config import LaunchConfig
from pipeline.locks import cell_lock, device_lock
from pipeline.progress import Progress, Report, silent
from pipeline.study.registry import Cell
from pipeline.training.record import read_done
from pipeline.workspace import Workspace
from sae_core.metrics.definition import Measured

if TYPE_CHECKING:
    import numpy as np

State = Literal["done", "missing"]


@dataclass(frozen=True)
class EvaluationResult:
    """One measured SAE. `reused`: it was measured before, with the same metrics and settings.

    `metrics` by name, those of its matches with other SAEs as they are known now;
    `firing_frequency` (f,) share of held-out tokens, empty for an SAE whose training diverged;
    `probes` the arrays of the metric `sparse_probing`, empty where no text was labelled.
    """

    sae: str
    sae_hash: str
    evaluation_hash: str
    reused: bool
    metrics: Mapping[str, Measured]
    firing_frequency: np.ndarray
    probes: Mapping[str, np.ndarray] = field(default_factory=dict)


def evaluate_cells(
    workspace: Workspace,
    cells: Sequence[Cell],
    *,
    report: Report = silent,
    launch: LaunchConfig | None = None,
) -> list[EvaluationResult]:
    """The evaluations of these cells, all of one source, in the same order.

    What is there is reused. What is missing is measured in one sweep with one clean forward; of
    an SAE that was measured before, only new metrics are. Then each is matched with the SAEs it
    is compared with by default, as far as they are measured (see `neighbours`). `launch` is where
    sweeps are made, each by a process of its own; none: where the first one's study says.
    Raises ValueError for cells of several sources, StudyError for SAEs that are not trained yet,
    WorkspaceError where another process evaluates one of them, DiskFullError.
    """
    evaluations = _identified(workspace, cells)
    missing = _missing(evaluations)
    made: set[str] = set()
    if missing:
        from pipeline.evaluation.apart import measure_apart
        from pipeline.evaluation.work import evaluate

        source = str(cells[0].source)

        def waiting(holder: str) -> None:
            report(Progress("evaluation", 0, 1, "sweeps", f"{source} waits for {holder}"))

        with ExitStack() as held:
            for one in missing:
                held.enter_context(cell_lock(workspace, f"evaluation {one.sae}"))
            owner = f"evaluation {source}"
            held.enter_context(device_lock(workspace, owner, on_wait=waiting))
            # Another process may have finished them while this one waited.
            missing = _missing(missing)
            if missing:
                measure_apart(workspace, missing, launch or cells[0].launch, report=report)
                evaluate(workspace, missing, report=report)
            made = {one.sae for one in missing}
    return [_result(workspace, one, reused=one.sae not in made) for one in evaluations]


def evaluation_state(workspace: Workspace, cell: Cell) -> State:
    """Whether a cell is measured with today's metrics and settings; cheap, without torch."""
    from pipeline.corpus.pack import open_corpus

    if open_corpus(workspace, cell.source.model, cell.model) is None:
        return "missing"
    one = identify(workspace, cell)
    return "done" if read_record(one.folder, one.evaluation_hash) else "missing"


def _identified(workspace: Workspace, cells: Sequence[Cell]) -> list[Evaluation]:
    sources = {cell.source for cell in cells}
    if len(sources) != 1:
        listing = ", ".join(sorted(map(str, sources))) or "none"
        raise ValueError(f"cells of one source are evaluated together; given: {listing}.")
    evaluations = identify_all(workspace, cells)
    for one in evaluations:
        if read_done(one.folder, one.sae_hash) is None:
            raise StudyError(
                f"{one.sae} cannot be evaluated: it is not trained yet. SAEs are trained first: "
                "run the study, or materialize the asset `sae` of this partition."
            )
    return evaluations


def _missing(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    unique = {one.sae: one for one in evaluations}.values()
    return [one for one in unique if read_record(one.folder, one.evaluation_hash) is None]


def _result(workspace: Workspace, one: Evaluation, *, reused: bool) -> EvaluationResult:
    import numpy as np

    from pipeline.evaluation.pairing import numbers_of_matches
    from pipeline.evaluation.tables import read_tables

    record = read_record(one.folder, one.evaluation_hash)
    if record is None:
        raise StudyError(f"{one.folder} was removed while {one.sae} was being used. Repeat.")
    tables = read_tables(one.folder, one.tables_hash)
    matched = numbers_of_matches(workspace, one) if tables else {}
    return EvaluationResult(
        sae=one.sae,
        sae_hash=one.sae_hash,
        evaluation_hash=one.evaluation_hash,
        reused=reused,
        metrics=dict(sorted({**record.metrics, **matched}.items())),
        firing_frequency=tables.latents.firing_frequency if tables else np.zeros(0),
        probes=tables.tallies.get("sparse_probing", {}) if tables else {},
    )

"""Runs a plan here and now: stage by stage, one cell one run, until done or stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dagster as dg

from pipeline.failures import forget_failure, note_failure
from pipeline.orchestrate.first_class import RunOutcome, execute, run_name
from pipeline.orchestrate.instance import instance as open_instance
from pipeline.orchestrate.interrupts import noticed_interrupts
from pipeline.orchestrate.liveness import reap
from pipeline.orchestrate.partitions import add_partitions, cell_key
from pipeline.orchestrate.requested import MODELS_TAG, together_tag
from pipeline.orchestrate.session import session
from pipeline.plan import DONE, CellWork, Plan, SourceWork
from pipeline.progress import Progress, Report, silent
from pipeline.workspace import Workspace

CELL_ASSETS = ("sae", "evaluation")
OVERVIEW_ASSETS = ("random_baselines", "dictionary_matches")


@dataclass
class PlanOutcome:
    """How a plan's runs ended; `skipped` names cells whose source could not be made."""

    runs: list[RunOutcome] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[RunOutcome]:
        """Runs that failed."""
        return [run for run in self.runs if not run.succeeded]

    @property
    def succeeded(self) -> bool:
        """Whether everything was made."""
        return not self.failed and not self.skipped


def run_plan(
    workspace: Workspace,
    plan: Plan,
    *,
    report: Report = silent,
    tags: dict[str, str] | None = None,
) -> PlanOutcome:
    """Makes what the plan says is missing, and what this instance has not seen made.

    A failed cell does not stop the others. Raises KeyboardInterrupt when a person stops it; the
    next command goes on from there. `report` also hears of each run that ended; `tags` go on each.
    """
    with (
        session(workspace, report),
        open_instance(workspace) as instance,
        noticed_interrupts() as interrupted,
    ):
        reap(instance, workspace)
        add_partitions(instance, [work.source for work in plan.sources], plan.keys)
        runner = _Runner(workspace, instance, interrupted, report, dict(tags or {}))
        runner.run(plan)
        if runner.outcome.succeeded:
            _forget_failures(workspace, plan)
        return runner.outcome


def _forget_failures(workspace: Workspace, plan: Plan) -> None:
    """All of the plan exists now, also what another process made after it had failed here."""
    for source in plan.sources:
        forget_failure(workspace, run_name(["activations"], str(source.source)))
    for work in plan.cells:
        key = cell_key(work.cell.source, work.cell.key)
        forget_failure(workspace, run_name(list(CELL_ASSETS), key))


@dataclass
class _Runner:
    workspace: Workspace
    instance: dg.DagsterInstance
    interrupted: Callable[[], bool]
    report: Report
    tags: dict[str, str]
    n_runs: int = 0
    outcome: PlanOutcome = field(default_factory=PlanOutcome)

    def run(self, plan: Plan) -> None:
        stored = _Seen(self.instance, "activations")
        judged = _Seen(self.instance, "evaluation")
        sources = [w for w in plan.sources if w.state != DONE or str(w.source) not in stored]
        cells = [
            w
            for w in plan.cells
            if not w.exists or cell_key(w.cell.source, w.cell.key) not in judged
        ]
        if not sources and not cells:
            return
        self.n_runs = 1 + len(sources) + len(cells) + 1
        if not self._execute(["corpus"], tags={MODELS_TAG: json.dumps(list(plan.models))}):
            self.outcome.skipped += [work.cell.sae_id for work in cells]
            return
        unmade = self._activations(sources)
        for together in _by_source(cells):
            self._cells(together, unmade)
        self._execute(list(OVERVIEW_ASSETS))

    def _activations(self, works: list[SourceWork]) -> set[str]:
        """Sources that could not be made. The first run of a variant stores all its sites."""
        unmade = set()
        for work in works:
            variant = (work.source.model, work.source.weights)
            together = [
                str(w.source) for w in works if (w.source.model, w.source.weights) == variant
            ]
            name = str(work.source)
            if not self._execute(["activations"], partition=name, tags=together_tag(together)):
                unmade.add(name)
        return unmade

    def _cells(self, works: list[CellWork], unmade: set[str]) -> None:
        """The first run of a source trains all its cells; the others find the work done."""
        together = [str(cell_key(work.cell.source, work.cell.key)) for work in works]
        for work in works:
            if str(work.cell.source) in unmade:
                self.outcome.skipped.append(work.cell.sae_id)
                continue
            key = cell_key(work.cell.source, work.cell.key)
            self._execute(list(CELL_ASSETS), partition=key, tags=together_tag(together))

    def _execute(
        self, assets: list[str], *, partition: str | None = None, tags: dict[str, str] | None = None
    ) -> bool:
        outcome = execute(
            self.workspace,
            self.instance,
            assets,
            partition=partition,
            tags={**self.tags, **(tags or {})},
        )
        if self.interrupted():
            self._cancel(outcome)
            raise KeyboardInterrupt
        self.outcome.runs.append(outcome)
        if outcome.succeeded:
            forget_failure(self.workspace, outcome.name)
        else:
            note_failure(self.workspace, outcome.name, outcome.sentence)
        n_ended = len(self.outcome.runs) + len(self.outcome.skipped)
        self.report(Progress("runs", n_ended, self.n_runs, "runs", outcome.name))
        return outcome.succeeded

    def _cancel(self, outcome: RunOutcome) -> None:
        """A run that a person stopped did not fail: the UI shows it as canceled."""
        run = self.instance.get_run_by_id(outcome.run_id)
        if run is not None and not outcome.succeeded:
            self.instance.report_run_canceled(run, "Stopped by the person who started it.")


@dataclass
class _Seen:
    """Which partitions of an asset the instance has seen made."""

    instance: dg.DagsterInstance
    asset: str

    def __post_init__(self) -> None:
        self._keys = self.instance.get_materialized_partitions(dg.AssetKey(self.asset))

    def __contains__(self, partition: str) -> bool:
        return str(partition) in self._keys


def _by_source(works: list[CellWork]) -> Iterator[list[CellWork]]:
    for source in dict.fromkeys(work.cell.source for work in works):
        yield [work for work in works if work.cell.source == source]

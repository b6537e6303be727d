"""SAEs trained together on one pass over a source, with checkpoints, a curve and a way to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import torch

from pipeline.errors import CheckpointError, UserError
from pipeline.progress import Progress, Report
from pipeline.training.checkpoint import (
    Standing,
    TrainingCheckpoint,
    read_checkpoint,
    write_checkpoint,
)
from pipeline.training.clock import Clock
from pipeline.training.crew import ONE_PROCESS, Crew
from pipeline.training.curve import Curve
from pipeline.training.data import TrainingData, language_model_of
from pipeline.training.identity import Run
from sae_core.engine import TrainReport, train
from sae_core.ranks import Share, from_first, share_of
from sae_core.trainee import Trainee

REPORTS = 200  # points of a curve; a checkpoint can be due at each of them
_SECONDS_BETWEEN_TELLS = 0.5


class TrainingStopped(UserError):
    """Training was asked to stop; every SAE of the group was checkpointed first."""


@dataclass(frozen=True)
class CheckpointInterval:
    """How often a running group is checkpointed; it never changes a result.

    A checkpoint is due `seconds` after the last one, or after `tokens` of the pass where given,
    but not before `cost_factor` times what the last one took to write has gone by.
    """

    seconds: float = 30.0
    tokens: int | None = None
    cost_factor: float = 20.0


@dataclass
class Member:
    """One SAE of a group: its trainee, its curve so far, the time spent on it, what is saved,
    its tokens at the last report, and on what it has been trained."""

    run: Run
    trainee: Trainee
    curve: Curve = field(default_factory=Curve)
    seconds: float = 0.0
    wait_seconds: float = 0.0
    saved_step: int | None = None
    told_tokens: int = 0
    ways: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """Where the trainee stands now."""
        return Standing(
            self.run.sae_hash,
            self.trainee.step_count,
            self.trainee.tokens_seen,
            self.seconds,
            self.wait_seconds,
            self.ways,
        )

    def save(self, crew: Crew) -> None:
        """Checkpoints the trainee, unless it stands where it was saved or has diverged since."""
        if self.saved_step == self.trainee.step_count or self.trainee.diverged is not None:
            return
        checkpoint = TrainingCheckpoint(self.standing, self.trainee.state(), self.curve)
        if crew.writes:
            write_checkpoint(self.run.folder, checkpoint)
        self.saved_step = self.trainee.step_count


def member_of(run: Run, store: TrainingData, *, device: torch.device, crew: Crew) -> Member:
    """The run's trainee, new or exactly as its last checkpoint left it."""
    recipe = run.cell.recipe
    rows = None
    if recipe.init_rows:
        rows = torch.cat(list(store.calibration(max_rows=recipe.init_rows)))
    try:
        trainee = Trainee(
            recipe,
            name=run.name,
            statistics=store.statistics,
            further=store.further_statistics,
            language_model=language_model_of(store),
            seed=run.draws_seed,
            init_rows=rows,
            ranks=crew.ranks,
            split=crew.split,
            device=device,
        )
    except ValueError as error:
        raise UserError(f"{run.name} cannot be trained: {error}") from error
    checkpoint = read_checkpoint(run.folder, run.sae_hash)
    if checkpoint is None:
        return Member(run, trainee, ways=(crew.way,))
    try:
        trainee.load_state(checkpoint.state)
    except ValueError as error:
        raise CheckpointError(f"The training checkpoint in {run.folder}: {error}") from error
    now = checkpoint.standing
    return Member(
        run,
        trainee,
        checkpoint.curve,
        now.seconds,
        now.wait_seconds,
        now.step,
        now.tokens,
        # Checkpoints of older versions do not say it; there was one way.
        _then(now.ways or (ONE_PROCESS,), crew.way),
    )


def _then(ways: tuple[str, ...], way: str) -> tuple[str, ...]:
    return ways if ways[-1] == way else (*ways, way)


def train_group(
    members: Sequence[Member],
    store: TrainingData,
    *,
    device: torch.device,
    crew: Crew,
    report: Report,
    stop: Callable[[], bool] | None,
    interval: CheckpointInterval,
    leave: Callable[[Sequence[Member]], None],
) -> None:
    """Trains all members, which stand at one step, to the end of their budgets.

    Those whose budgets end together are given to `leave` while the others go on; every member is
    checkpointed before, so that a killed group goes on from where the first ones left.
    Raises TrainingStopped when `stop`, asked at every report, says so: the next call continues
    where this one stood.
    """
    first = members[0].run.cell
    batches = store.batches(
        batch_size=first.recipe.batch_size,
        data_seed=first.data_seed,
        start=members[0].trainee.step_count,
    )
    _part([m for m in members if m.trainee.done], leave)
    clock, due = Clock(store), _Due(interval)

    def agreed(flag: bool) -> bool:
        return from_first(flag, crew.ranks, device=device)

    with closing(batches):
        told = _told(batches, members, device=device, crew=crew, report=report)
        trainees = [member.trainee for member in members]
        for news in train(trainees, told, report_every=_report_every(members)):
            _note(members, news, clock)
            stopping = agreed(stop is not None and stop())
            if news.finished or stopping or agreed(due.now(news.tokens)):
                due.timed(lambda: _save(members, crew), news.tokens)
                _part([m for m in members if m.run.name in news.finished], leave)
                clock.skip()
            if stopping and not all(member.trainee.done for member in members):
                raise _stopped(members)
    report(_progress(members))


def _part(leaving: Sequence[Member], leave: Callable[[Sequence[Member]], None]) -> None:
    """Lets members go whose training is over and whose last state is on disk."""
    if leaving:
        leave(leaving)


def _save(members: Sequence[Member], crew: Crew) -> None:
    for member in members:
        member.save(crew)


def _note(members: Sequence[Member], news: TrainReport, clock: Clock) -> None:
    """Adds a report to the curves and its time to the members that were in it.

    `tokens_per_second` is the pass's: tokens that every member saw, per second of them all.
    """
    elapsed, waited = clock.lap()
    numbers = read_at_once(news.metrics)
    for member in members:
        if member.run.name not in news.metrics:
            continue
        member.seconds += elapsed
        member.wait_seconds += waited
        values = numbers[member.run.name]
        values["wait_share"] = waited / elapsed if elapsed else 0.0
        tokens = news.tokens - member.told_tokens
        values["tokens_per_second"] = tokens / elapsed if elapsed else math.nan
        member.told_tokens = news.tokens
        member.curve = member.curve.extended(news.step, news.tokens, values)


def read_at_once(
    metrics: Mapping[str, Mapping[str, torch.Tensor | float]],
) -> dict[str, dict[str, float]]:
    """Measurements by trainee and name as floats: the one time a report waits for the device."""
    measured = [
        (trainee, name, value) for trainee, own in metrics.items() for name, value in own.items()
    ]
    on_device = [value.float() for *_, value in measured if isinstance(value, torch.Tensor)]
    read = iter(torch.stack(on_device).tolist() if on_device else ())
    numbers: dict[str, dict[str, float]] = {trainee: {} for trainee in metrics}
    for trainee, name, value in measured:
        numbers[trainee][name] = next(read) if isinstance(value, torch.Tensor) else value
    return numbers


def _report_every(members: Sequence[Member]) -> int:
    recipes = [member.run.cell.recipe for member in members]
    steps = max(math.ceil(recipe.tokens / recipe.batch_size) for recipe in recipes)
    return max(1, steps // REPORTS)


def _told(
    batches: Iterator[torch.Tensor],
    members: Sequence[Member],
    *,
    device: torch.device,
    crew: Crew,
    report: Report,
) -> Iterator[torch.Tensor | Share]:
    """The batches, or this rank's shares of them, on the device.

    Tells progress between them, whatever the curve's intervals.
    """
    last = -math.inf
    for x in batches:
        if time.monotonic() - last > _SECONDS_BETWEEN_TELLS:
            report(_progress(members))
            last = time.monotonic()
        if crew.ranks.size > 1 and crew.split == "tokens":
            share = share_of(x, crew.ranks)
            yield share._replace(rows=share.rows.to(device, non_blocking=True))
        else:
            yield x.to(device, non_blocking=True)


def _progress(members: Sequence[Member]) -> Progress:
    budgets = [member.run.cell.recipe.tokens for member in members]
    seen = [min(m.trainee.tokens_seen, b) for m, b in zip(members, budgets, strict=True)]
    together = f"{len(members)} SAEs of" if len(members) > 1 else "1 SAE of"
    note = f"{together} {members[0].run.cell.source}"
    known = [v for m in members if math.isfinite(v := m.curve.last().get("fvu", math.nan))]
    if known:
        note += f", mean FVU {sum(known) / len(known):.3f}"
    return Progress("training", sum(seen), sum(budgets), "tokens", note)


def _stopped(members: Sequence[Member]) -> TrainingStopped:
    standing = max(member.trainee.tokens_seen for member in members)
    return TrainingStopped(
        f"Training of {members[0].run.cell.source} was stopped after {standing:,} tokens of each "
        f"of {len(members)} SAEs; all were checkpointed. The same command continues from there."
    )


class _Due:
    """Whether the next checkpoint is due."""

    def __init__(self, interval: CheckpointInterval) -> None:
        self._interval = interval
        self._time, self._cost = time.monotonic(), 0.0
        self._tokens: int | None = None

    def now(self, tokens: int) -> bool:
        if self._tokens is None:
            self._tokens = tokens
        elapsed = time.monotonic() - self._time
        if elapsed < self._interval.cost_factor * self._cost:
            return False
        wanted = self._interval.tokens
        by_tokens = wanted is not None and tokens - self._tokens >= wanted
        return by_tokens or elapsed >= self._interval.seconds

    def timed(self, write: Callable[[], None], tokens: int) -> None:
        start = time.monotonic()
        write()
        self._time, self._tokens = time.monotonic(), tokens
        self._cost = self._time - start

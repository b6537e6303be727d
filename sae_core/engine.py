"""The training loop: many SAEs on one pass over the activations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from sae_core.ranks import Share
from sae_core.trainee import Trainee


@dataclass(frozen=True)
class TrainReport:
    """What happened since the last report.

    `step` steps and `tokens` tokens since training began; `metrics` per trainee, each the mean
    over the interval: 0-d tensors on the device, or floats. Trainees that diverged have non-finite
    means. `finished` names those whose budget was spent in the interval.
    """

    step: int
    tokens: int
    metrics: Mapping[str, Mapping[str, torch.Tensor | float]]
    finished: tuple[str, ...]


def train(
    trainees: Sequence[Trainee],
    batches: Iterable[torch.Tensor | Share],
    *,
    report_every: int,
) -> Iterator[TrainReport]:
    """Trains the trainees together, a report every `report_every` steps and when one finishes.

    `batches` of activations (n, d), or this rank's shares of them, the first being the one after
    the trainees' last step; one trainee's budget spent, it leaves, and the last one's ends
    training. Every batch is seen by all.
    Between reports nothing is pending: a state saved at a report continues as if never stopped.
    Raises ValueError when the trainees stand at different steps, names repeat, or batches run out.
    """
    active = [trainee for trainee in trainees if not trainee.done]
    _check(active, report_every)
    means = {trainee.name: _Means() for trainee in active}
    stream = iter(batches)
    while active:
        x = next(stream, None)
        if x is None:
            raise _ran_out(active)
        for trainee in active:
            means[trainee.name].add(trainee.step(x))
        finished = tuple(trainee.name for trainee in active if trainee.done)
        step = active[0].step_count
        if finished or step % report_every == 0:
            metrics = {trainee.name: means[trainee.name].take() for trainee in active}
            yield TrainReport(step, active[0].tokens_seen, metrics, finished)
            active = [trainee for trainee in active if not trainee.done]


class _Means:
    """Running means of measurements, kept where they were measured."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor | float] = {}
        self._count = 0

    def add(self, measured: Mapping[str, torch.Tensor | float]) -> None:
        for name, value in measured.items():
            self._sums[name] = self._sums[name] + value if self._count else value
        self._count += 1

    def take(self) -> dict[str, torch.Tensor | float]:
        means = {name: total / self._count for name, total in self._sums.items()}
        self._count = 0
        return means


def _check(active: Sequence[Trainee], report_every: int) -> None:
    names = [trainee.name for trainee in active]
    if len(set(names)) < len(names):
        raise ValueError(f"trainees {names} share names. Allowed: one name each. Rename them.")
    steps = {trainee.name: trainee.step_count for trainee in active}
    if len(set(steps.values())) > 1:
        raise ValueError(
            f"trainees stand at different steps: {steps}. Allowed: one step for all that train "
            "together. Train those of one step at a time."
        )
    if report_every < 1:
        raise ValueError(f"report_every is {report_every}. Allowed: 1 or more. Try 100.")


def _ran_out(active: Sequence[Trainee]) -> ValueError:
    left = {trainee.name: trainee.config.tokens - trainee.tokens_seen for trainee in active}
    return ValueError(
        f"the batches ended before the token budgets: {left} tokens are left. Allowed: batches "
        "that cover the largest budget. Repeat epochs or lower `tokens`."
    )

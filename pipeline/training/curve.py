"""The training curve of one SAE: long rows (step, tokens, metric, value), stored as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class CurveRow(NamedTuple):
    """One value of one metric, averaged over the interval that ends at `step`."""

    step: int
    tokens: int
    metric: str
    value: float


@dataclass(frozen=True)
class Curve:
    """The rows of one SAE so far, oldest first."""

    rows: tuple[CurveRow, ...] = ()

    def extended(self, step: int, tokens: int, values: Mapping[str, float]) -> Curve:
        """This curve with one more report behind it."""
        new = tuple(CurveRow(step, tokens, name, value) for name, value in values.items())
        return Curve(self.rows + new)

    def last(self) -> dict[str, float]:
        """The newest value of every metric."""
        return {row.metric: row.value for row in self.rows}

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], list[str]]:
        """Columns of the rows (r,) and the metric names that column `metric` counts into."""
        import torch

        names = sorted({row.metric for row in self.rows})
        place = {name: i for i, name in enumerate(names)}
        return {
            "step": torch.tensor([row.step for row in self.rows], dtype=torch.int64),
            "tokens": torch.tensor([row.tokens for row in self.rows], dtype=torch.int64),
            "metric": torch.tensor([place[row.metric] for row in self.rows], dtype=torch.int64),
            "value": torch.tensor([row.value for row in self.rows], dtype=torch.float64),
        }, names

    @classmethod
    def from_tensors(cls, columns: Mapping[str, torch.Tensor], names: Sequence[str]) -> Curve:
        """The curve that `to_tensors` was made of, value for value."""
        listed = zip(
            columns["step"].tolist(),
            columns["tokens"].tolist(),
            columns["metric"].tolist(),
            columns["value"].tolist(),
            strict=True,
        )
        return cls(tuple(CurveRow(s, t, names[m], v) for s, t, m, v in listed))

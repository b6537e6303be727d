"""What a group of SAEs is trained on, opened: one source, several sites, or a dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from pipeline.store.activation_store import ActivationStore
from pipeline.store.aligned import AlignedStores
from pipeline.training.dictionary_rows import DictionaryRows
from pipeline.training.identity import Run
from pipeline.training.token_row_data import TokenRowData
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    import torch

    from sae_core.language_model import ReadingModel
    from sae_core.statistics import SourceStatistics


class TrainingData(Protocol):
    """Rows to train on; a batch holds what the architecture declares, side by side."""

    wait_seconds: float

    @property
    def width(self) -> int:
        """d of the source."""
        ...

    @property
    def statistics(self) -> SourceStatistics:
        """What is known of the source's rows before training."""
        ...

    @property
    def further_statistics(self) -> tuple[SourceStatistics, ...]:
        """The same of every site that stands beside it."""
        ...

    def epochs_for(self, tokens: int) -> float:
        """How often `tokens` rows go through the data."""
        ...

    def calibration(self, max_rows: int | None = None) -> Iterator[torch.Tensor]:
        """Rows for thresholds and statistics, in blocks."""
        ...

    def batches(self, *, batch_size: int, data_seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Batches from number `start` on, endless; batch b is the same wherever reading starts."""
        ...


def data_key(run: Run) -> tuple[str, ...]:
    """What the run's batches are made of: runs of one source with equal keys can share a pass."""
    if run.dictionary is not None:
        return (run.dictionary.sae_hash,)
    if run.cell.recipe.inputs == "token_rows":
        return ("token rows", *map(str, run.cell.later_sites))
    return tuple(hash_ for _, hash_ in run.further)


def language_model_of(data: TrainingData) -> ReadingModel | None:
    """What SAEs on this data are trained through; None where they are not."""
    return data.language_model if isinstance(data, TokenRowData) else None


def open_data(workspace: Workspace, run: Run) -> TrainingData:
    """The run's data; raises StoreError or StudyError where a part of it is not made yet."""
    if run.dictionary is not None:
        return DictionaryRows.open(run.dictionary)
    own = ActivationStore.open(workspace, run.cell.source, run.source_hash)
    if run.cell.recipe.inputs == "token_rows":
        return TokenRowData.open(workspace, run, own)
    if not run.further:
        return own
    others = [ActivationStore.open(workspace, source, hash_) for source, hash_ in run.further]
    return AlignedStores([own, *others])

"""Rows of text as training data, for SAEs that are trained through the language model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.errors import StoreError
from pipeline.store.activation_store import ActivationStore
from pipeline.store.permutation import KeyedPermutation
from pipeline.training.identity import Run
from pipeline.training.through_model import ThroughModel
from pipeline.workspace import Workspace
from sae_core.statistics import SourceStatistics

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus

_GROUP = 1024  # packed rows that are read and permuted together


class TokenRowData:
    """Whole packed rows of the train split, those whose tokens the source's store holds.

    A batch (n, 2) holds token and document ids of n / context rows. Groups of rows come in a
    random order and so do the rows of each: tokens of one row stay together, which shuffled
    activations do not. Special tokens count as tokens. Statistics are the source's.
    """

    further_statistics: tuple[SourceStatistics, ...] = ()

    def __init__(
        self, corpus: PackedCorpus, n_rows: int, store: ActivationStore, model: ThroughModel
    ) -> None:
        self.corpus, self.n_rows, self.store, self.language_model = corpus, n_rows, store, model
        self.wait_seconds = 0.0

    @classmethod
    def open(cls, workspace: Workspace, run: Run, store: ActivationStore) -> TokenRowData:
        """The rows of a run's model; loads the language model."""
        from pipeline.corpus.pack import open_corpus
        from pipeline.corpus.shuffled import text_as_read
        from pipeline.harvest.token_rows import token_rows
        from pipeline.language_model.load import load_language_model

        source, config = run.cell.source, run.cell.model
        corpus = open_corpus(workspace, source.model, config)
        if corpus is None:
            raise StoreError(f"The corpus of {source.model!r} was removed. Run the study again.")
        corpus = text_as_read(corpus, source.weights)
        n_rows = corpus.n_rows("train")
        if config.harvest.tokens is not None:
            n_rows = token_rows(corpus, "train", tokens=config.harvest.tokens).packed_rows
        model = ThroughModel(
            load_language_model(config, source.weights),
            source.site,
            run.cell.later_sites,
            corpus.context,
            store.manifest.calibration.max_norm,
        )
        return cls(corpus, n_rows, store, model)

    @property
    def width(self) -> int:
        """d of the source."""
        return self.store.width

    @property
    def statistics(self) -> SourceStatistics:
        """What the calibration split says of the source."""
        return self.store.statistics

    def epochs_for(self, tokens: int) -> float:
        """How often `tokens` tokens go through the rows."""
        return tokens / (self.n_rows * self.corpus.context)

    def calibration(self, max_rows: int | None = None) -> Iterator[torch.Tensor]:
        """The source's calibration activations (n, d)."""
        return self.store.calibration(max_rows)

    def batches(self, *, batch_size: int, data_seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Batches (batch_size, 2) int64 from batch `start` on, endless over epochs.

        Batch b is the same wherever reading starts. `batch_size` is a multiple of the context.
        """
        size = batch_size // self.corpus.context
        held = np.empty((0, self.corpus.context, 2), np.int64)
        pieces = self._pieces(start * size, data_seed)
        while True:
            begun = time.perf_counter()
            parts = [held]
            while sum(map(len, parts)) < size:
                parts.append(next(pieces))
            held = np.concatenate(parts)
            batch, held = held[:size], held[size:]
            self.wait_seconds += time.perf_counter() - begun
            yield torch.from_numpy(np.ascontiguousarray(batch).reshape(-1, 2))

    def _pieces(self, start_row: int, data_seed: int) -> Iterator[np.ndarray]:
        """Rows (r, context, 2) in the order of training, a group at a time, from a row on."""
        epoch, skip = divmod(start_row, self.n_rows)
        n_groups = -(-self.n_rows // _GROUP)
        while True:
            keyed = KeyedPermutation(n_groups, "token row groups", data_seed, epoch)
            for group in keyed.row(np.arange(n_groups)).tolist():
                first, last = group * _GROUP, min((group + 1) * _GROUP, self.n_rows)
                size = last - first
                if skip < size:
                    rows = np.stack(self.corpus.tokens("train", first, last), axis=-1)
                    order = KeyedPermutation(size, "token rows", data_seed, epoch, group)
                    yield rows[order.row(np.arange(size))[skip:]].astype(np.int64)
                skip = max(0, skip - size)
            epoch += 1

"""Cutting one split's stream of tokens into full rows, and writing them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import atomic
from pipeline.corpus.packed import ROWS_PER_GROUP


@dataclass
class SplitRows:
    """The rows of one split on their way into a Parquet file.

    first: the token that every row begins with, if any. n_tokens counts tokens that are not
    special. The file appears, whole, when the context ends without an error.
    """

    path: Path
    context: int
    special: frozenset[int]
    first: int | None
    n_rows: int = 0
    n_tokens: int = 0
    _parts: list[tuple[int, np.ndarray]] = field(default_factory=list)
    _waiting: int = 0
    _open: ExitStack = field(default_factory=ExitStack)
    _writer: pq.ParquetWriter | None = None

    def __enter__(self) -> SplitRows:
        with self._open as opening:
            temporary = opening.enter_context(atomic.writing(self.path))
            row = pa.list_(pa.int32(), self.context)
            schema = pa.schema([("tokens", row), ("documents", row)])
            self._writer = opening.enter_context(
                pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True)
            )
            self._open = opening.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        if error[0] is None:
            self._flush(self._waiting // self._stride)
        return self._open.__exit__(*error)

    @property
    def _stride(self) -> int:
        """Tokens of the stream that a row takes up."""
        return self.context - (self.first is not None)

    def add(self, document: int, ids: np.ndarray) -> None:
        """Append a document's tokens, separator included."""
        self._parts.append((document, ids))
        self._waiting += len(ids)
        groups = self._waiting // (ROWS_PER_GROUP * self._stride)
        self._flush(groups * ROWS_PER_GROUP)

    def filled(self) -> int:
        """Rows so far, those still waiting included."""
        return self.n_rows + self._waiting // self._stride

    def _flush(self, n_rows: int) -> None:
        if not n_rows:
            return
        ids = np.concatenate([ids for _, ids in self._parts])
        documents = np.repeat(
            [number for number, _ in self._parts], [len(ids) for _, ids in self._parts]
        )
        cut = n_rows * self._stride
        self._parts = _remaining(ids[cut:], documents[cut:])
        self._waiting -= cut
        ids, documents = (self._cut(values[:cut]) for values in (ids, documents))
        if self.first is not None:
            ids = np.pad(ids, ((0, 0), (1, 0)), constant_values=self.first)
            documents = np.pad(documents, ((0, 0), (1, 0)), mode="edge")
        table = pa.table([self._column(ids), self._column(documents)], schema=self._writer.schema)
        self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        self.n_rows += n_rows
        self.n_tokens += int(ids.size - np.isin(ids, sorted(self.special)).sum())

    def _cut(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.int32).reshape(-1, self._stride)

    def _column(self, rows: np.ndarray) -> pa.FixedSizeListArray:
        return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), self.context)


def _remaining(ids: np.ndarray, documents: np.ndarray) -> list[tuple[int, np.ndarray]]:
    if not len(ids):
        return []
    numbers, starts = np.unique(documents, return_index=True)
    pieces = np.split(ids, starts[1:])
    return [(int(number), piece) for number, piece in zip(numbers, pieces, strict=True)]

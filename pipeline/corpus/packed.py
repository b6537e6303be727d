"""Packed token rows on disk: what they are and how they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import StoreError

SPLITS = ("train", "calibration", "held_out")
MANIFEST = "manifest.json"
DOCUMENTS = "documents.parquet"
ROWS_PER_GROUP = 512


@dataclass(frozen=True)
class PackedCorpus:
    """Rows of `context` tokens per split; every row is full, each token knows its document."""

    path: Path
    manifest: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> PackedCorpus:
        """The corpus of a folder. Raises StoreError where its manifest cannot be read."""
        try:
            return cls(path, json.loads((path / MANIFEST).read_text()))
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the packed corpus {path} has no readable {MANIFEST} ({error}). Remove the "
                "folder and run again: it is made anew from the text."
            ) from error

    @property
    def hash(self) -> str:
        """The content hash: text, tokenizer, context and splits."""
        return str(self.manifest["hash"])

    @property
    def context(self) -> int:
        """Tokens of a row."""
        return int(self.manifest["context"])

    @property
    def special_ids(self) -> frozenset[int]:
        """Token ids that are never scored, stored or edited."""
        return frozenset(self.manifest["special_ids"])

    @property
    def vocab_size(self) -> int:
        """How many tokens the tokenizer knows."""
        return int(self.manifest["vocab_size"])

    def n_rows(self, split: str) -> int:
        """Rows of a split."""
        return int(self.manifest["splits"][split]["rows"])

    def n_tokens(self, split: str) -> int:
        """Tokens of a split's rows that are not special."""
        return int(self.manifest["splits"][split]["tokens"])

    def tokens(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows start to stop of a split: token ids and document ids, int32 (r, context) each.

        Raises IndexError outside the split, StoreError where the file is damaged.
        """
        if not 0 <= start <= stop <= self.n_rows(split):
            raise IndexError(f"rows {start}:{stop} of {self.n_rows(split)} rows of {split}")
        if start == stop:
            empty = np.zeros((0, self.context), np.int32)
            return empty, empty.copy()
        first, last = start // ROWS_PER_GROUP, (stop - 1) // ROWS_PER_GROUP
        table = self._groups(split, first, last)
        part = table.slice(start - first * ROWS_PER_GROUP, stop - start)
        ids, documents = (self._matrix(part.column(name)) for name in ("tokens", "documents"))
        return ids, documents

    def document_names(self, split: str) -> dict[int, str]:
        """Document id -> name, for the documents of a split."""
        table = self._read(DOCUMENTS).to_pydict()
        rows = zip(table["document"], table["name"], table["split"], strict=True)
        return {document: name for document, name, where in rows if where == split}

    def stream_starts(self, split: str) -> dict[int, int]:
        """Document id -> where its separator stands in the split's stream of tokens."""
        table = self._read(DOCUMENTS).to_pydict()
        rows = zip(table["document"], table["n_tokens"], table["split"], strict=True)
        mine = [(document, n_tokens) for document, n_tokens, where in rows if where == split]
        sizes = [n_tokens + 1 for _, n_tokens in mine]
        starts = [0, *accumulate(sizes)][: len(sizes)]
        return {document: start for (document, _), start in zip(mine, starts, strict=True)}

    def packed_positions(self, split: str, row: int) -> np.ndarray:
        """Where each token of a row (context,) stands in the row as it was packed."""
        return np.arange(self.context)

    def _groups(self, split: str, first: int, last: int) -> pa.Table:
        key = (split, first, last)
        if self._recent.get("key") != key:
            name = f"{split}.parquet"
            with _damage_named(self.path / name):
                file = self._recent.get(name) or self._open(name)
                self._recent[name] = file
                self._recent["table"] = file.read_row_groups(list(range(first, last + 1)))
                self._recent["key"] = key
        return self._recent["table"]

    @cached_property
    def _recent(self) -> dict[str, Any]:
        """Open files and the row groups read last: batches read the same group many times."""
        return {}

    def _open(self, name: str) -> pq.ParquetFile:
        return pq.ParquetFile(self.path / name, page_checksum_verification=True)

    def _read(self, name: str) -> pa.Table:
        with _damage_named(self.path / name):
            return self._open(name).read()

    def _matrix(self, column: pa.ChunkedArray) -> np.ndarray:
        values = [np.asarray(chunk.flatten()) for chunk in column.chunks]
        return np.concatenate(values).astype(np.int32, copy=False).reshape(-1, self.context)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} is missing or damaged ({error}). Remove the folder {path.parent} and run "
            "again: it is made anew from the text."
        ) from error

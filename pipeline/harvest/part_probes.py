"""A few rows of every part, kept beside it as the language model gave them.

They outlive the process that ran the model, so that a harvest made in parts, or resumed, is
compared with what the model gave like one made in a single sweep.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline import atomic
from pipeline.harvest.task import StoreTask
from pipeline.store.manifest import StoredArray
from pipeline.store.storage_dtype import numpy_dtype

PROBES = 256
Probe = tuple[int, np.ndarray]


def probed_rows(n: int) -> np.ndarray:
    """The numbers of the rows that are compared, evenly spread over all n, (m,) int64."""
    return np.unique(np.linspace(0, n - 1, min(n, PROBES)).astype(np.int64))


def write_probes(task: StoreTask, part: Path, rows: np.ndarray, span: tuple[int, int]) -> None:
    """Writes the probed ones of the rows (m, d), in corpus order, of packed rows start..stop."""
    here, first = _here(task, span)
    atomic.write_bytes(_beside(part), np.ascontiguousarray(rows[here - first]).tobytes())


def read_probes(
    task: StoreTask, part: Path, array: StoredArray, span: tuple[int, int]
) -> list[Probe]:
    """The probed rows of a part, numbered; none beside a part of an older version."""
    path = _beside(part)
    if not path.exists():
        return []
    here, _ = _here(task, span)
    stored = np.frombuffer(path.read_bytes(), numpy_dtype(array.dtype)).reshape(len(here), -1)
    return [(int(row), values) for row, values in zip(here, stored, strict=True)]


def _here(task: StoreTask, span: tuple[int, int]) -> tuple[np.ndarray, int]:
    """The probed rows of packed rows start..stop, and their first row."""
    first, last = (int(row) for row in task.rows.first_row(np.array(span)))
    probed = probed_rows(task.rows.n)
    near = np.searchsorted(probed, [first, last])
    return probed[near[0] : near[1]], first


def _beside(part: Path) -> Path:
    return part.with_suffix(".probes")

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CheckpointError
from pipeline.evaluation.record import (
    EvaluationRecord,
    read_record,
    record_path,
    write_record,
)
from pipeline.evaluation.tables import (
    DocumentTables,
    LatentSums,
    read_tables,
    tables_path,
    write_tables,
)
from sae_core.metrics.definition import Measured

HASH, OTHER = "a" * 64, "a" * 8 + "b" * 56


def tables(*, dead_train: np.ndarray | None = None, **named: float) -> DocumentTables:
    latents = LatentSums(
        n_tokens=10,
        n_fires=np.array([0, 5]),
        sum_values=np.array([0.0, 2.5]),
        max_value=np.array([0.0, 1.5]),
        l0_histogram=np.array([5, 5]),
        group_fires=np.array([[0, 2], [0, 3]]),
        group_l0=np.array([[3, 2], [2, 3]]),
        decoder_norm=np.ones(2),
        encoder_decoder_cosine=np.zeros(2),
        dead_train=dead_train,
    )
    sums = {name: np.full((3, 2), value) for name, value in named.items()}
    tallies = {"cuts": {"steps": np.arange(3.0), "losses/0.5": np.eye(2)}}
    return DocumentTables(np.array([4, 7, 9]), sums, dict.fromkeys(named, "v=1"), latents, tallies)


@pytest.mark.parametrize("dead_train", [None, np.array([True, False])])
def test_tables_come_back_as_they_were_written(tmp_path: Path, dead_train) -> None:
    written = tables(fvu=1.5, mse=0.1, dead_train=dead_train)
    write_tables(tmp_path, HASH, written)
    found = read_tables(tmp_path, HASH)
    assert found.documents.tolist() == [4, 7, 9]
    assert found.versions == written.versions
    assert {n: t.tolist() for n, t in found.tables.items()} == {
        n: t.tolist() for n, t in written.tables.items()
    }
    assert found.tallies["cuts"].keys() == {"steps", "losses/0.5"}
    assert found.tallies["cuts"]["losses/0.5"].tolist() == [[1, 0], [0, 1]]
    for name, value in vars(written.latents).items():
        assert np.array_equal(getattr(found.latents, name), value), name


def test_missing_files_are_nothing_yet(tmp_path: Path) -> None:
    assert read_tables(tmp_path, HASH) is None
    assert read_record(tmp_path, HASH) is None


def test_newer_tables_take_the_place_of_older_ones() -> None:
    both = tables(fvu=1, mse=2).with_more(tables(mse=3, l0=4))
    assert {name: t[0, 0] for name, t in both.tables.items()} == {"fvu": 1, "mse": 3, "l0": 4}
    assert set(both.versions) == {"fvu", "mse", "l0"}


@pytest.mark.parametrize("cut", [0, 10, 400])
def test_damaged_tables_are_named(tmp_path: Path, cut: int) -> None:
    write_tables(tmp_path, HASH, tables(fvu=1))
    path = tables_path(tmp_path, HASH)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match="Delete this one file"):
        read_tables(tmp_path, HASH)


def test_tables_and_records_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    write_tables(tmp_path, HASH, tables(fvu=1))
    with pytest.raises(CheckpointError, match="belongs to evaluation"):
        read_tables(tmp_path, OTHER)
    write_record(tmp_path, EvaluationRecord(HASH, "run", {}))
    with pytest.raises(CheckpointError, match="belongs to evaluation"):
        read_record(tmp_path, OTHER)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    metrics = {"fvu": Measured(0.25, 0.2, 0.3, 100), "x": Measured(None, reason="why")}
    write_record(tmp_path, EvaluationRecord(HASH, "run-1", metrics))
    assert read_record(tmp_path, HASH) == EvaluationRecord(HASH, "run-1", metrics)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    record_path(tmp_path, HASH).write_text("{")
    with pytest.raises(CheckpointError, match="Delete this one file"):
        read_record(tmp_path, HASH)

"""The shuffle modes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.harvest.row_order import BUFFER_ROWS, RowOrder, row_order
from pipeline.harvest.token_rows import TokenRows, token_rows
from tests.pipeline.harvest.fake_model import FakeCorpus

MODES = ["global", "buffer", "sequence", "none"]


@pytest.fixture(scope="module")
def rows() -> TokenRows:
    return token_rows(FakeCorpus(rows={"train": 1500}), "train", tokens=40_001)


def order(rows: TokenRows, mode: str, seed: int = 0) -> RowOrder:
    return row_order(mode, seed, rows)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_puts_every_row_at_one_position(rows: TokenRows, mode: str) -> None:
    positions = order(rows, mode).position(np.arange(rows.n))
    assert np.array_equal(np.sort(positions), np.arange(rows.n))
    assert np.array_equal(order(rows, mode).row(positions), np.arange(rows.n))


@pytest.mark.parametrize("mode", MODES)
def test_a_position_does_not_depend_on_the_batch_it_is_asked_in(rows: TokenRows, mode: str) -> None:
    whole = order(rows, mode).position(np.arange(rows.n))
    parts = [
        order(rows, mode).position(np.arange(start, min(start + 977, rows.n)))
        for start in range(0, rows.n, 977)
    ]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("mode", ["global", "buffer", "sequence"])
def test_seeds_give_other_orders(rows: TokenRows, mode: str) -> None:
    first, second = (order(rows, mode, seed).position(np.arange(rows.n)) for seed in (0, 1))
    assert (first == second).mean() < 0.01


def test_buffer_keeps_rows_inside_their_window(rows: TokenRows) -> None:
    moved = order(rows, "buffer").position(np.arange(rows.n))
    assert np.array_equal(moved // BUFFER_ROWS, np.arange(rows.n) // BUFFER_ROWS)


def test_sequence_keeps_packed_rows_whole(rows: TokenRows) -> None:
    flat = rows.flat(order(rows, "sequence").row(np.arange(rows.n)))
    sequences = flat // rows.context
    assert (np.diff(sequences) != 0).sum() == rows.packed_rows - 1
    inside = np.diff(sequences) == 0
    assert (np.diff(flat)[inside] > 0).all()
    assert not np.array_equal(sequences, np.sort(sequences))


def test_none_leaves_the_corpus_order(rows: TokenRows) -> None:
    assert np.array_equal(order(rows, "none").row(np.arange(rows.n)), np.arange(rows.n))

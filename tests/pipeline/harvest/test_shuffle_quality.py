"""The measure of shuffling passes a uniform order and no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.harvest.row_order import row_order
from pipeline.harvest.shuffle_quality import ShuffleStatistic, shuffle_quality
from pipeline.harvest.token_rows import TokenRows, token_rows
from tests.pipeline.harvest.fake_model import FakeCorpus

SHARD = 4096
UNIFORMITY = {
    "block_by_shard",
    "adjacent_same_sequence",
    "adjacent_same_document",
    "serial_correlation",
}


@pytest.fixture(scope="module")
def rows() -> TokenRows:
    return token_rows(FakeCorpus(rows={"train": 2000}), "train", tokens=60_000)


def measured(
    rows: TokenRows, origins: np.ndarray, mode: str = "global", seed: int = 0
) -> dict[str, ShuffleStatistic]:
    blocks = (origins[i : i + 5000] for i in range(0, len(origins), 5000))
    order = row_order(mode, seed, rows)
    found = shuffle_quality(blocks, rows, order, shard_rows=SHARD)
    return {statistic.statistic: statistic for statistic in found}


def stored(rows: TokenRows, mode: str = "global", seed: int = 0) -> np.ndarray:
    return rows.flat(row_order(mode, seed, rows).row(np.arange(rows.n)))


def failed(found: dict[str, ShuffleStatistic]) -> set[str]:
    return {name for name, statistic in found.items() if not statistic.passed}


@pytest.mark.parametrize("seed", range(12))
def test_a_global_shuffle_passes(rows: TokenRows, seed: int) -> None:
    found = measured(rows, stored(rows, seed=seed), seed=seed)
    assert not failed(found)
    assert set(found) == UNIFORMITY | {"misplaced_rows", "wrong_rows"}


def test_z_of_uniform_orders_is_standard_normal(rows: TokenRows) -> None:
    generator = np.random.default_rng(0)
    flat = rows.flat(np.arange(rows.n))
    runs = [measured(rows, generator.permutation(flat)) for _ in range(60)]
    for name in UNIFORMITY:
        z = np.array([run[name].z for run in runs])
        # The mean of 60 standard normals has deviation 0.13, their standard deviation 0.09.
        assert abs(z.mean()) < 0.55, name
        assert 0.6 < z.std() < 1.45, name


@pytest.mark.parametrize(
    ("mode", "statistics"),
    [
        ("sequence", {"adjacent_same_sequence", "adjacent_same_document", "serial_correlation"}),
        ("buffer", {"block_by_shard", "adjacent_same_sequence", "serial_correlation"}),
        ("none", UNIFORMITY),
    ],
)
def test_weaker_shuffles_fail_although_their_rows_are_where_they_should_be(
    rows: TokenRows, mode: str, statistics: set[str]
) -> None:
    found = measured(rows, stored(rows, mode), mode)
    assert statistics <= failed(found) <= UNIFORMITY


def lost_last_row(origins: np.ndarray) -> np.ndarray:
    """A permutation of all rows but the last, which nobody placed: a row is there twice."""
    changed = origins.copy()
    changed[np.argmax(origins)] = origins[0]
    return changed


def rotated_in_shards(origins: np.ndarray) -> np.ndarray:
    return np.concatenate([np.roll(s, 1) for s in np.split(origins, range(SHARD, 60_000, SHARD))])


def next_token(origins: np.ndarray) -> np.ndarray:
    return origins + 1


def swapped_once(origins: np.ndarray) -> np.ndarray:
    changed = origins.copy()
    changed[[10, 20_000]] = changed[[20_000, 10]]
    return changed


@pytest.mark.parametrize(
    ("plant", "statistics"),
    [
        (lost_last_row, {"misplaced_rows", "wrong_rows"}),
        (rotated_in_shards, {"misplaced_rows"}),
        (next_token, {"misplaced_rows", "wrong_rows"}),
        (swapped_once, {"misplaced_rows"}),
    ],
)
def test_a_planted_off_by_one_fails(
    rows: TokenRows, plant: Callable[[np.ndarray], np.ndarray], statistics: set[str]
) -> None:
    assert failed(measured(rows, plant(stored(rows)))) == statistics


def test_an_order_that_is_no_bijection_fails_even_against_itself(rows: TokenRows) -> None:
    class Modulo:
        def position(self, numbers: np.ndarray) -> np.ndarray:
            return numbers

        def row(self, positions: np.ndarray) -> np.ndarray:
            return row_order("global", 0, rows).row(positions) // 2 * 2

    order = Modulo()
    origins = rows.flat(order.row(np.arange(rows.n)))
    found = shuffle_quality([origins], rows, order, shard_rows=SHARD)
    assert "wrong_rows" in {s.statistic for s in found if not s.passed}


def test_blocks_shuffled_inside_shards_only_fail(rows: TokenRows) -> None:
    generator = np.random.default_rng(1)
    flat = rows.flat(np.arange(rows.n))
    parts = [generator.permutation(part) for part in np.split(flat, range(SHARD, rows.n, SHARD))]
    found = measured(rows, np.concatenate(parts))
    assert "block_by_shard" in failed(found)


def test_a_store_of_one_shard_is_measured_in_blocks() -> None:
    small = token_rows(FakeCorpus(rows={"train": 60}), "train", tokens=None)
    assert not failed(measured(small, stored(small)))
    assert "block_by_shard" in failed(measured(small, stored(small, "none"), "none"))


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_tiny_stores_can_be_measured(n: int) -> None:
    tiny = token_rows(FakeCorpus(), "train", tokens=n)
    assert not failed(measured(tiny, stored(tiny)))

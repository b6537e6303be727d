"""The keyed permutation: a bijection, stable, and uniform enough for a shuffle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store import permutation
from pipeline.store.permutation import TABLE_ROWS, KeyedPermutation


@pytest.mark.parametrize("n", [1, 2, 3, 7, 256, 1000, TABLE_ROWS, TABLE_ROWS + 1, 200_003, 1 << 18])
def test_every_position_is_taken_exactly_once(n: int) -> None:
    order = KeyedPermutation(n, "rows", 3)
    positions = order.position(np.arange(n))
    assert np.array_equal(np.bincount(positions, minlength=n), np.ones(n, int))
    assert np.array_equal(order.row(positions), np.arange(n))


@given(n=st.integers(1, 1 << 40), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=30, deadline=None)
def test_row_undoes_position_at_any_size(n: int, seed: int, data: st.DataObject) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
    order = KeyedPermutation(n, seed)
    positions = order.position(rows)
    assert ((positions >= 0) & (positions < n)).all()
    assert np.array_equal(order.row(positions), rows)


@pytest.mark.parametrize("n", [5000, 150_001])
def test_a_position_does_not_depend_on_the_rows_asked_for_with_it(n: int) -> None:
    order = KeyedPermutation(n, 1)
    whole = order.position(np.arange(n))
    assert np.array_equal(order.position(np.arange(17, n, 7)), whole[17::7])
    assert np.array_equal(KeyedPermutation(n, 1).position(np.arange(n)), whole)


@pytest.mark.parametrize("n", [5000, 150_001])
def test_keys_give_unrelated_orders(n: int) -> None:
    first = KeyedPermutation(n, "a", 0).position(np.arange(n))
    for key in (("a", 1), ("b", 0), ("a", "0"), ("a", 0, 0)):
        other = KeyedPermutation(n, *key).position(np.arange(n))
        # Agreements of two unrelated permutations are Poisson with mean 1.
        assert (first == other).sum() < 12
        assert abs(np.corrcoef(first, other)[0, 1]) < 6 / np.sqrt(n)


def test_the_order_of_a_key_never_changes() -> None:
    # Stores on disk rest on these values.
    assert KeyedPermutation(10, "rows", 0).position(np.arange(10)).tolist() == TABLE_ORDER
    assert KeyedPermutation(1 << 20, "rows", 0).position(np.arange(4)).tolist() == FEISTEL_ORDER


TABLE_ORDER = [2, 4, 8, 5, 1, 3, 7, 6, 0, 9]
FEISTEL_ORDER = [150343, 892766, 913654, 262832]


@pytest.mark.parametrize("table_rows", [0, TABLE_ROWS])
def test_small_permutations_are_all_about_equally_likely(
    table_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permutation, "TABLE_ROWS", table_rows)
    n, draws = (4, 2400) if table_rows else (64, 600)
    images = np.array([KeyedPermutation(n, s).position(np.arange(n)) for s in range(draws)])
    if table_rows:
        codes = images @ (4 ** np.arange(4))
        counts = np.unique(codes, return_counts=True)[1]
        assert len(counts) == 24
        assert ((counts - 100) ** 2 / 100).sum() < 60  # 23 degrees of freedom: p < 1e-4
    for column in (0, 31 % n, n - 1):
        counts = np.bincount(images[:, column], minlength=n)
        expected = draws / n
        assert ((counts - expected) ** 2 / expected).sum() < n + 6 * np.sqrt(2 * n)

"""Storage types, masks, statistics files, reading ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch

from pipeline.store.batch_memory import BatchMemory
from pipeline.store.read_ahead import ReadAhead
from pipeline.store.row_mask import HIGH_NORM, NONFINITE, OK, row_mask
from pipeline.store.statistics_file import statistics_from_bytes, statistics_to_bytes
from pipeline.store.storage_dtype import NAMES, as_tensor, choose, numpy_dtype, torch_dtype
from sae_core.statistics import SourceStatistics


def test_auto_keeps_a_factor_of_four_below_float16s_largest() -> None:
    assert choose("auto", 65504 / 4) == "float16"
    assert choose("auto", 65504 / 4 + 1) == "bfloat16"
    assert choose("float16", 1e30) == "float16"
    assert choose("float32", 0.0) == "float32"


@pytest.mark.parametrize("name", NAMES)
def test_stored_bits_are_the_values(name: str) -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).to(torch_dtype(name))
    stored = np.empty((7, 3), numpy_dtype(name))
    as_tensor(stored, name).copy_(x)
    assert torch.equal(as_tensor(stored.copy(), name), x)
    assert stored.tobytes() == x.view(torch.uint8).numpy().tobytes()


def test_masks_tell_non_finite_from_long_rows() -> None:
    x = torch.ones(6, 4)
    x[1, 2], x[2, 0], x[3, 3] = float("nan"), float("inf"), 100.0
    x[4] = 3e38  # finite, although its norm is not
    expected = [OK, NONFINITE, NONFINITE, HIGH_NORM, HIGH_NORM, OK]
    assert row_mask(x, 50.0).tolist() == expected
    assert row_mask(x, None).tolist() == [OK, NONFINITE, NONFINITE, OK, OK, OK]


def test_statistics_come_back_bit_for_bit() -> None:
    mean = torch.randn(5, generator=torch.Generator().manual_seed(0)).double() / 3
    given = SourceStatistics(mean, mean * 2, 0.1, 0.2, 1 / 3, 77)
    found = statistics_from_bytes(statistics_to_bytes(given))
    assert torch.equal(found.mean, given.mean)
    assert torch.equal(found.geometric_median, given.geometric_median)
    assert (found.mean_norm, found.mean_square_norm, found.total_variance, found.n) == (
        0.1,
        0.2,
        1 / 3,
        77,
    )


def counting(limit: int) -> Iterator[int]:
    yield from range(limit)


def test_reading_ahead_keeps_the_order_and_uses_its_buffers_only() -> None:
    buffers = [np.zeros(1), np.zeros(1)]

    def fill(job: int, buffer: np.ndarray) -> None:
        buffer[0] = job

    with ReadAhead(counting(20), buffers, fill=fill) as ahead:
        found = [(job, buffer[0], any(buffer is b for b in buffers)) for job, buffer in ahead]
    assert found == [(n, n, True) for n in range(20)]


def test_reading_ahead_stays_one_buffer_ahead() -> None:
    filled: list[int] = []
    with ReadAhead(counting(10), [0, 1], fill=lambda job, _: filled.append(job)) as ahead:
        for job, _ in islice(ahead, 5):
            time.sleep(0.01)
            assert max(filled) <= job + 1


def test_what_goes_wrong_in_the_thread_is_raised_in_the_consumer() -> None:
    def fill(job: int, _: int) -> None:
        if job == 3:
            raise ValueError("planted")

    found = []
    with (
        pytest.raises(ValueError, match="planted"),
        ReadAhead(counting(9), [0, 1], fill=fill) as ahead,
    ):
        found += [job for job, _ in ahead]
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_batch_memory_is_given_again_only_when_no_view_of_it_lives() -> None:
    memory = BatchMemory(4, 3)
    first = memory.take()
    place = first.data_ptr()
    view = first[1:, :2].t()
    del first
    assert memory.take().data_ptr() != place
    view += 1
    del view
    assert memory.take().data_ptr() == place


def test_batch_memory_never_gives_one_place_to_two_holders() -> None:
    memory = BatchMemory(4, 3)
    held = [memory.take() for _ in range(20)]
    assert len({tensor.data_ptr() for tensor in held}) == 20


def test_memory_that_autograd_still_needs_is_not_given_again() -> None:
    memory = BatchMemory(4, 3)
    weight = torch.ones(3, 2, requires_grad=True)
    batch = memory.take().fill_(2.0)
    loss = (batch @ weight).sum()
    del batch
    memory.take().fill_(-7.0)
    loss.backward()
    assert torch.equal(weight.grad, torch.full((3, 2), 8.0))

"""A store as a whole: rows, alignment, masks, memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from pipeline.errors import StoreError, StudyError
from pipeline.harvest import read_rows
from pipeline.harvest.fill import read_quality
from pipeline.study.names import Site
from tests.pipeline.harvest.fake_model import (
    SITES,
    FakeCorpus,
    FakeForward,
    Reports,
    contents,
    fill,
    opened,
    task_in,
    token_ids,
)


@pytest.mark.parametrize("shuffle", ["global", "buffer", "sequence", "none"])
@pytest.mark.parametrize("tokens", [None, 1700])
def test_every_row_is_the_token_that_origin_says(
    tmp_path: Path, shuffle: str, tokens: int | None
) -> None:
    task = task_in(tmp_path, shuffle=shuffle, tokens=tokens)
    fill(task)
    ids = task.corpus.tokens("train", 0, 100)[0].ravel()
    expected = ids[ids != 0][:tokens]
    for site in SITES:
        store = opened(task, site)
        assert store.n_rows == len(expected)
        found = token_ids(store.read(0, store.n_rows))
        assert np.array_equal(found, ids[store.origin(0, store.n_rows)])
        assert np.array_equal(np.sort(found), np.sort(expected))
        if shuffle == "none":
            assert np.array_equal(found, expected)


def test_values_are_the_models_in_the_storage_type(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    forward = fill(task)
    for site in SITES:
        store = opened(task, site)
        x = store.read(0, store.n_rows)
        given = forward.values(torch.from_numpy(token_ids(x)), site)
        assert store.dtype == "float16"
        assert torch.equal(x, given.half().float())


def test_all_sites_cost_one_forward_per_batch(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    forward = fill(task)
    train = [call for call in forward.calls if call[0] == 4 * 32 and len(call[1]) == 3]
    assert len([c for c in forward.calls if c[0] == 128]) == len(train) == 25 + 1
    again = fill(task)
    assert again.calls == []


def test_zarr_reads_the_same_rows(tmp_path: Path) -> None:
    task = task_in(tmp_path, dtype="bfloat16")
    fill(task)
    group = zarr.open_group(task.folder.zarr, mode="r")
    for site in SITES:
        store = opened(task, site)
        bits = group[f"train/{site}"][:]
        assert group[f"train/{site}"].attrs["dtype"] == "bfloat16"
        values = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float()
        assert torch.equal(values, store.read(0, store.n_rows))
        assert np.array_equal(group[f"mask/{site}"][:], store.mask(0, store.n_rows))
    assert np.array_equal(group["origin"][:], store.origin(0, store.n_rows))


def test_a_site_added_later_is_byte_equal_to_one_harvested_together(tmp_path: Path) -> None:
    together, apart = task_in(tmp_path / "a"), task_in(tmp_path / "b")
    fill(together)
    for site in reversed(SITES):
        fill(apart, [site])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_weights_variant_has_the_same_tokens_in_the_same_rows(tmp_path: Path) -> None:
    first, second = task_in(tmp_path / "a"), task_in(tmp_path / "b", weights="random@1")
    fill(first, SITES[:1])
    fill(second, SITES[2:])
    a, b = opened(first, SITES[0]), opened(second, SITES[2])
    assert np.array_equal(token_ids(a.read(0, a.n_rows)), token_ids(b.read(0, b.n_rows)))


class Wide(FakeForward):
    """256 numbers per token that cost nothing to compute."""

    def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
        return (ids[..., None] % 1024).float().expand(*ids.shape, 256)


def test_memory_stays_within_a_budget_far_smaller_than_the_data(tmp_path: Path) -> None:
    corpus = FakeCorpus(rows={"train": 600, "calibration": 9})
    task = task_in(tmp_path, corpus, memory_mb=2, dtype="float32")
    tracemalloc.start()
    fill(task, SITES[:1], Wide())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert task.rows.n * 256 * 4 > 18e6
    # numpy's buffers are traced; torch's batches of 128 rows are not, and are small.
    assert peak < 4e6
    assert not list(tmp_path.rglob("*.bin"))


def test_a_budget_that_cannot_hold_a_shard_says_how_much_it_takes(tmp_path: Path) -> None:
    task = task_in(tmp_path, memory_mb=0, shard_rows=1024)
    with pytest.raises(StudyError, match=r"memory_mb = 0 .*Raise memory_mb, or lower shard_rows"):
        fill(task)


def test_a_token_budget_beyond_the_corpus_names_both_numbers(tmp_path: Path) -> None:
    available = FakeCorpus().n_tokens("train")
    with pytest.raises(StudyError, match=f"3,300 .*{available:,}"):
        task_in(tmp_path, tokens=3300)


class Spoiled(FakeForward):
    """Some rows are not finite, some are long, some overflow float16."""

    def __init__(self, *, calibration: bool = False) -> None:
        super().__init__()
        self._calibration = calibration

    def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
        x = super().values(ids, site)
        wanted = torch.ones_like(ids, dtype=torch.bool) if self._calibration else ids < 1_000_000
        x[(ids % 500 == 7) & wanted, 3] = float("nan")
        x[(ids % 500 == 8) & wanted, 3] = float("-inf")
        x[(ids % 500 == 9) & wanted] = 30_000.0
        x[(ids % 500 == 10) & wanted, 3] = 1e6
        return x


def test_masked_rows_are_kept_counted_and_left_out_of_batches(tmp_path: Path) -> None:
    task = task_in(tmp_path, dtype="float16")
    fill(task, SITES[:1], Spoiled())
    store = opened(task, SITES[0])
    ids = task.corpus.tokens("train", 0, 100)[0].ravel()[store.origin(0, store.n_rows)]
    expected = np.zeros(store.n_rows, np.uint8)
    expected[np.isin(ids % 500, [7, 8, 10])] = 1
    expected[ids % 500 == 9] = 2
    assert np.array_equal(store.mask(0, store.n_rows), expected)
    assert store.manifest.n_nonfinite == (expected == 1).sum()
    assert store.manifest.n_high_norm == (expected == 2).sum()
    batches = store.batches(batch_size=100, data_seed=0)
    seen = np.concatenate([token_ids(next(batches)) for _ in range(store.n_rows // 100)])
    batches.close()
    line = expected[: len(ids) // 100 * 100]
    assert np.array_equal(seen, ids[: len(line)][line == 0])


@pytest.mark.parametrize(("dtype", "stored"), [("auto", "bfloat16"), ("float32", "float32")])
def test_auto_avoids_float16_where_values_are_large(
    tmp_path: Path, dtype: str, stored: str
) -> None:
    class Large(FakeForward):
        def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
            return super().values(ids, site) * 400

    task = task_in(tmp_path, dtype=dtype)
    fill(task, SITES[:1], Large())
    store = opened(task, SITES[0])
    assert store.dtype == stored
    assert store.n_masked == 0


def test_too_many_masked_calibration_rows_stop_the_harvest_before_its_pass(tmp_path: Path) -> None:
    task = task_in(tmp_path, max_masked_share=0.0)
    forward = Spoiled(calibration=True)
    with pytest.raises(
        StoreError, match=r"4 of 200 rows .*2 non-finite, 2 of high norm.*max_masked_share"
    ):
        fill(task, SITES[:1], forward)
    assert len(forward.calls) < 10


def test_statistics_are_those_of_the_calibration_rows(tmp_path: Path) -> None:
    task = task_in(tmp_path)
    forward = fill(task)
    ids = task.corpus.tokens("calibration", 0, 9)[0].ravel()
    ids = ids[ids != 0][:200]
    for site in SITES:
        store = opened(task, site)
        x = forward.values(torch.from_numpy(ids), site).half().double()
        assert store.statistics.n == 200
        assert torch.allclose(store.statistics.mean, x.mean(0), rtol=1e-12)
        assert store.statistics.mean_norm == pytest.approx(float(x.norm(dim=1).mean()), rel=1e-12)
        variance = float((x - x.mean(0)).square().sum(1).mean())
        assert store.statistics.total_variance == pytest.approx(variance, rel=1e-9)
        blocks = torch.cat(list(store.calibration()))
        assert sorted(token_ids(blocks)) == sorted(ids)
        assert sum(len(block) for block in store.calibration(max_rows=50)) == 50


def test_progress_counts_tokens_up_to_all_of_them(tmp_path: Path) -> None:
    task, reports = task_in(tmp_path), Reports()
    fill(task, report=reports)
    for stage, unit in (("calibrate", "tokens"), ("harvest", "tokens"), ("write", "rows")):
        found = [p for p in reports.all if p.stage == stage]
        assert found
        assert {p.unit for p in found} == {unit}
        assert found[-1].done == found[-1].total


def test_rows_that_the_model_gave_are_found_where_the_order_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_in(tmp_path / "good")
    fill(task, SITES[:1])
    assert all(s.passed for s in read_quality(task.folder, SITES[0]))

    from pipeline.harvest import place_rows

    placed = place_rows.placed_rows

    def shifted(task: Any, array: Any, number: int, rows: Any, numbers: np.ndarray) -> Any:
        return placed(task, array, number, rows, np.roll(numbers, 1))

    monkeypatch.setattr(place_rows, "placed_rows", shifted)
    wrong = task_in(tmp_path / "wrong")
    fill(wrong, SITES[:1])
    failed = [s.statistic for s in read_quality(wrong.folder, SITES[0]) if not s.passed]
    assert failed == ["probe_mismatches"]


def test_capacity_shares_the_budget_between_sites(tmp_path: Path) -> None:
    corpus = FakeCorpus(rows={"train": 1000, "calibration": 9})
    task = task_in(tmp_path, corpus, memory_mb=1, shard_rows=4096)
    fill(task, SITES[:1])
    one = [opened(task, SITES[0]).manifest.calibration]
    assert read_rows.row_capacity(task, one) > 2 * read_rows.row_capacity(task, one * 8)

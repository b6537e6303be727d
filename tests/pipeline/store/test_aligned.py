"""Several sites read at once: the same rows, whatever is masked where."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import StoreError
from pipeline.store.activation_store import ActivationStore
from pipeline.store.aligned import AlignedStores
from pipeline.study.names import Site
from tests.pipeline.harvest.fake_model import (
    SITES,
    WIDTHS,
    FakeCorpus,
    FakeForward,
    fill,
    opened,
    task_in,
    token_ids,
)

ROWS = 1700
BROKEN = {SITES[0]: 301, SITES[2]: 407}  # a token id whose row is not finite there
BROKEN_IN_CALIBRATION = 1_000_011


class Broken(FakeForward):
    """One row is not finite at the first site, another at the last."""

    def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
        x = super().values(ids, site)
        x[ids == BROKEN.get(site, -1)] = torch.nan
        if site == SITES[2]:
            x[ids == BROKEN_IN_CALIBRATION] = torch.inf
        return x


def stores_in(folder: Path, forward: FakeForward, **changes: object) -> list[ActivationStore]:
    settings = {"tokens": ROWS, "max_masked_share": 1.0} | changes
    task = task_in(folder, FakeCorpus(), **settings)
    fill(task, SITES, forward)
    return [opened(task, site) for site in SITES]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[ActivationStore]:
    return stores_in(tmp_path_factory.mktemp("whole"), FakeForward())


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> list[ActivationStore]:
    return stores_in(tmp_path_factory.mktemp("broken"), Broken())


def taken(store: AlignedStores | ActivationStore, n: int, **how: int) -> list[torch.Tensor]:
    batches = store.batches(**how)
    try:
        return list(islice(batches, n))
    finally:
        batches.close()


def sites_of(batch: torch.Tensor) -> list[torch.Tensor]:
    return list(batch.split([WIDTHS[site] for site in SITES], 1))


@pytest.mark.parametrize("data_seed", [0, 3])
@pytest.mark.parametrize("start", [0, 11])
def test_each_site_is_as_if_read_alone(
    whole: list[ActivationStore], data_seed: int, start: int
) -> None:
    how = {"batch_size": 100, "data_seed": data_seed, "start": start}
    together = [sites_of(batch) for batch in taken(AlignedStores(whole), 25, **how)]
    for number, store in enumerate(whole):
        alone = taken(store, 25, **how)
        assert all(torch.equal(a[number], b) for a, b in zip(together, alone, strict=True))


def test_a_row_is_one_token_at_every_site(broken: list[ActivationStore]) -> None:
    for batch in taken(AlignedStores(broken), 40, batch_size=100, data_seed=1):
        first, *others = (token_ids(part) for part in sites_of(batch))
        assert all(np.array_equal(first, other) for other in others)


def test_a_row_masked_at_one_site_is_left_out_of_all(broken: list[ActivationStore]) -> None:
    batches = taken(AlignedStores(broken), 17, batch_size=100, data_seed=1)
    ids = np.concatenate([token_ids(sites_of(batch)[1]) for batch in batches])
    everything = token_ids(broken[1].read(0, ROWS))
    assert sorted(set(everything) - set(ids)) == sorted(BROKEN.values())
    assert len(ids) == ROWS - 2
    assert all(batch.isfinite().all() for batch in batches)


def test_calibration_rows_are_aligned_too(broken: list[ActivationStore]) -> None:
    stores = AlignedStores(broken)
    rows = torch.cat(list(stores.calibration()))
    first, *others = (token_ids(part) for part in sites_of(rows))
    assert all(np.array_equal(first, other) for other in others)
    assert len(rows) == 199
    assert BROKEN_IN_CALIBRATION not in first
    assert len(torch.cat(list(stores.calibration(max_rows=50)))) in (49, 50)


def test_statistics_are_each_sites_own(whole: list[ActivationStore]) -> None:
    stores = AlignedStores(whole)
    found = [stores.statistics, *stores.further_statistics]
    assert [one.width for one in found] == [WIDTHS[site] for site in SITES]
    assert stores.width == WIDTHS[SITES[0]]
    assert stores.hash == whole[0].hash


def test_sites_of_different_stores_are_refused(
    whole: list[ActivationStore], tmp_path: Path
) -> None:
    other = stores_in(tmp_path, FakeForward())
    shared = other[1].shared.model_copy(update={"store_hash": "t" * 64})
    other[1].shared = shared
    with pytest.raises(StoreError, match="different stores"):
        AlignedStores([whole[0], other[1]])

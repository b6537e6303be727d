"""A dictionary as training data."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from pipeline.errors import StudyError
from pipeline.training.dictionary_rows import DictionaryRows
from pipeline.training.identity import identify
from pipeline.training.record import SAE_FILE
from pipeline.training.run import train_cells
from pipeline.workspace import Workspace
from sae_core.checkpoint import sae_from_bytes
from tests.pipeline.training.scene import LATENTS, ToyStore, cell


def rows_of(f: int) -> DictionaryRows:
    return DictionaryRows(torch.arange(f, dtype=torch.float32)[:, None].expand(f, 3).clone())


def taken(data: DictionaryRows, n: int, **how: int) -> list[torch.Tensor]:
    return list(islice(data.batches(**how), n))


@pytest.mark.parametrize("batch_size", [3, 10, 25])
def test_every_epoch_visits_every_row_once(batch_size: int) -> None:
    found = torch.cat(taken(rows_of(10), 30, batch_size=batch_size, data_seed=0))[:30, 0]
    for epoch in found.split(10):
        assert sorted(epoch.tolist()) == list(range(10))
    assert found[:10].tolist() != found[10:20].tolist()


@pytest.mark.parametrize("start", [1, 7, 20])
@pytest.mark.parametrize("batch_size", [3, 25])
def test_batch_b_is_the_same_wherever_reading_starts(start: int, batch_size: int) -> None:
    how = {"batch_size": batch_size, "data_seed": 2}
    whole = taken(rows_of(10), start + 3, **how)
    later = taken(rows_of(10), 3, **how, start=start)
    assert all(torch.equal(a, b) for a, b in zip(whole[start:], later, strict=True))


def test_data_seeds_differ() -> None:
    one, other = (taken(rows_of(100), 1, batch_size=100, data_seed=s)[0] for s in (0, 1))
    assert not torch.equal(one, other)


def test_the_rows_are_the_unit_directions_of_the_trained_sae(
    store: ToyStore, workspace: Workspace
) -> None:
    run = identify(workspace, cell())
    with pytest.raises(StudyError, match=r"not trained yet.*materialize"):
        DictionaryRows.open(run)
    train_cells(workspace, [cell()])
    data = DictionaryRows.open(run)
    sae = sae_from_bytes((run.folder / SAE_FILE).read_bytes())
    assert torch.equal(data.rows, sae.dictionary())
    assert data.epochs_for(96) == 96 / LATENTS
    assert data.statistics.mean_square_norm == pytest.approx(1, abs=1e-6)

"""Drawn activations: the trained site's moments, keyed by row, in stores like all others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import StoreError
from pipeline.harvest.forward import Forward, Take, TextRows
from pipeline.harvest.gaussian import (
    drawn_activations,
    gaussian_forward,
    has_gaussian,
    read_gaussian,
)
from pipeline.harvest.mend import mend_source
from pipeline.harvest.task import StoreTask
from pipeline.progress import silent
from pipeline.study.names import Site
from tests.pipeline.harvest.fake_model import (
    SITES,
    FakeCorpus,
    FakeForward,
    contents,
    fill,
    opened,
    task_in,
)

SITE = SITES[1]


def drawn_store(
    folder: Path, *, weights: str = "gaussian", sites: Sequence[Site] = SITES, batch_rows: int = 4
) -> tuple[StoreTask, FakeForward]:
    """A filled store of drawn activations, and the trained forward it was matched with."""
    task, trained = task_in(folder, weights=weights, batch_rows=batch_rows), FakeForward()
    fill(task, sites, gaussian_forward(task, trained, sites, silent))
    return task, trained


def rows(task: StoreTask, site: Site = SITE) -> torch.Tensor:
    store = opened(task, site)
    return store.read(0, store.n_rows).double()


def test_mean_and_covariance_are_those_of_the_trained_calibration_rows(tmp_path: Path) -> None:
    trained = task_in(tmp_path / "trained")
    fill(trained)
    task, _ = drawn_store(tmp_path / "drawn")
    for site in SITES:
        kept = torch.cat(list(opened(trained, site).calibration())).double()
        gaussian = read_gaussian(task.folder, site)
        wanted = kept.T.cov(correction=0)
        assert torch.allclose(gaussian.mean, kept.mean(0), rtol=1e-9)
        assert torch.allclose(gaussian.root @ gaussian.root, wanted, atol=1e-9 * wanted.max())
        # What is stored, within five standard errors of a sample of n rows (and 16-bit rounding).
        x = rows(task, site)
        n, variances = len(x), wanted.diagonal()
        assert ((x.mean(0) - gaussian.mean).abs() <= 5 * (variances / n).sqrt()).all()
        error = ((torch.outer(variances, variances) + wanted.square()) / n).sqrt()
        assert ((x.T.cov() - wanted).abs() <= 5 * error).all()


def test_the_trained_model_reads_the_calibration_split_alone(tmp_path: Path) -> None:
    _, trained = drawn_store(tmp_path)
    assert 0 < sum(size for size, _ in trained.calls) <= 10 * 32


@pytest.mark.parametrize("fail_at", [1, 9, 20])
def test_bytes_do_not_depend_on_where_a_harvest_resumes(tmp_path: Path, fail_at: int) -> None:
    drawn_store(tmp_path / "whole")
    task = task_in(tmp_path / "resumed", weights="gaussian")

    def failing() -> Forward:
        drawn, calls = gaussian_forward(task, FakeForward(), SITES, silent), 0

        def forward(text: TextRows, sites: Sequence[Site], take: Take) -> None:
            nonlocal calls
            calls += 1
            if calls > fail_at:
                raise InterruptedError("planted")
            drawn(text, sites, take)

        return forward

    with pytest.raises(InterruptedError):
        fill(task, SITES, failing(), part_seconds=0)
    fill(task, SITES, gaussian_forward(task, FakeForward(), SITES, silent))
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_rows_do_not_depend_on_batches_nor_on_the_other_sites(tmp_path: Path) -> None:
    task, _ = drawn_store(tmp_path / "a")
    for number, batch_rows in enumerate((1, 3)):
        other, _ = drawn_store(tmp_path / str(number), sites=[SITE], batch_rows=batch_rows)
        assert torch.equal(rows(task), rows(other))


def test_row_i_is_drawn_at_the_token_of_row_i(tmp_path: Path) -> None:
    trained = task_in(tmp_path / "trained")
    fill(trained, [SITE])
    task, _ = drawn_store(tmp_path / "drawn")
    store = opened(task, SITE)
    origin = store.origin(0, store.n_rows)
    assert np.array_equal(origin, opened(trained, SITE).origin(0, store.n_rows))
    draw = drawn_activations(task.folder, store.source, context=32)
    packed_rows, places = np.divmod(origin[:50], 32)
    for row, packed, place in zip(rows(task)[:50], packed_rows, places, strict=True):
        assert torch.equal(row, draw("train", [int(packed)])[0, place].half().double())


def test_seeds_sites_splits_and_rows_are_drawn_apart(tmp_path: Path) -> None:
    first, _ = drawn_store(tmp_path / "0", sites=SITES[:2])
    second, _ = drawn_store(tmp_path / "1", weights="gaussian@1", sites=SITES[:2])

    def standard(task: StoreTask, site: Site = SITE) -> torch.Tensor:
        x = rows(task, site)[:, 2:]  # what the fake forward's first two hold hardly varies
        return ((x - x.mean(0)) / x.std(0)).flatten()

    a, n = standard(first), standard(first).numel()
    neighbours = torch.roll(standard(first), 6)
    for other in (standard(second), standard(first, SITES[0]), neighbours):
        assert abs(float((a * other).mean())) < 5 / n**0.5
    draw = drawn_activations(first.folder, first.source(SITE), context=32)
    assert not torch.equal(draw("train", [0]), draw("held_out", [0]))


@pytest.mark.parametrize("also", [True, False])
def test_a_damaged_gaussian_is_matched_again_and_proven(tmp_path: Path, also: bool) -> None:
    task, _ = drawn_store(tmp_path)
    before, path = contents(tmp_path), task.folder.gaussian(SITE)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    if also:
        (tmp_path / f"store.zarr/train/{SITE}/c/3/0").unlink()
    assert not has_gaussian(task, SITE)
    with pytest.raises(StoreError, match=r"Mend the\s+source"):
        read_gaussian(task.folder, SITE)
    result = mend_source(
        task,
        task.source(SITE),
        lambda: gaussian_forward(task, FakeForward(), [SITE], silent),
        report=silent,
    )
    shard = [f"shard 3 of train/{SITE}"] if also else []
    assert result.damaged == [*shard, "the Gaussian"]
    assert contents(tmp_path) == before


def test_a_gaussian_of_other_rows_is_noticed(tmp_path: Path) -> None:
    class Other(FakeForward):
        def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
            return super().values(ids, site) * 1.01

    task, _ = drawn_store(tmp_path)
    task.folder.gaussian(SITE).unlink()
    with pytest.raises(StoreError, match="bytes differ from the harvest's"):
        mend_source(
            task,
            task.source(SITE),
            lambda: gaussian_forward(task, Other(), [SITE], silent),
            report=silent,
        )


def test_a_calibration_split_that_is_mostly_masked_is_refused(tmp_path: Path) -> None:
    class Spoiled(FakeForward):
        def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
            return super().values(ids, site).masked_fill((ids % 2 == 0)[..., None], torch.nan)

    task = task_in(tmp_path, FakeCorpus(), weights="gaussian")
    with pytest.raises(StoreError):
        gaussian_forward(task, Spoiled(), [SITE], silent)

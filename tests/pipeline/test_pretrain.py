"""The embedded model's trainer: its batches, its schedule, and exact resume."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.embedded.architecture import Shape
from pipeline.embedded.checkpoint import Progress, load_progress, save_progress
from pipeline.embedded.pretrain import refuse_other_run, settings_for
from pipeline.embedded.schedule import Schedule
from pipeline.embedded.text import Stream, batch, rows_per_epoch
from pipeline.embedded.tokenizer import CONTEXT
from pipeline.embedded.trainer import Settings, Trainer
from pipeline.errors import UserError

TOKENS = np.random.default_rng(0).integers(0, 64, 6000).astype(np.int32)
SETTINGS = Settings(
    Schedule(batches=24, first_point=4, points=3, warmup=3),
    Shape(d=32, layers=2, heads=2, mlp=64, vocab=64),
    rows=2,
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _trainer(folder: Path, every: int = 3) -> Trainer:
    return Trainer(
        SETTINGS, folder, train=TOKENS, held_out=TOKENS[:600], say=lambda line: None, every=every
    )


class _Killed(Exception):
    pass


def _killed_after(trainer: Trainer, steps: int) -> None:
    count, step = itertools.count(1), trainer._step

    def dying(number: int, factor: float) -> torch.Tensor:
        if next(count) > steps:
            raise _Killed
        return step(number, factor)

    trainer._step = dying
    with pytest.raises(_Killed):
        trainer.run()


def _same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_killed_again_and_again_ends_in_the_same_bits(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "torn").mkdir()
    whole = _trainer(tmp_path / "whole")
    rows = whole.run()
    for steps in (1, 4, 3, 7, 5, 4):
        _killed_after(_trainer(tmp_path / "torn"), steps)
    torn = _trainer(tmp_path / "torn")
    assert torn.run() == rows
    assert _same(whole.model.state_dict(), torn.model.state_dict())
    states = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["live"]["optimisers"][0]
        for name in ("whole", "torn")
    ]
    assert len(states[0]["state"]) > 0
    for key, value in states[0]["state"].items():
        assert _same(value, states[1]["state"][key])


def test_a_run_killed_inside_a_checkpoint_write_or_rename_resumes_at_the_one_before(
    tmp_path, monkeypatch
):
    (tmp_path / "whole").mkdir()
    (tmp_path / "torn").mkdir()
    whole = _trainer(tmp_path / "whole")
    rows = whole.run()
    for fragile in ("fsync", "replace"):
        trainer = _trainer(tmp_path / "torn")
        count, real = itertools.count(1), getattr(os, fragile)

        def dying(*arguments, count=count, real=real):
            if next(count) > 2:
                raise _Killed
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, fragile, dying)
            with pytest.raises(_Killed):
                trainer.run()
    torn = _trainer(tmp_path / "torn")
    assert torn.progress.rows == rows[: len(torn.progress.rows)]
    assert torn.run() == rows
    assert _same(whole.model.state_dict(), torn.model.state_dict())


def test_a_finished_run_is_not_trained_again(tmp_path):
    rows = _trainer(tmp_path).run()
    again = _trainer(tmp_path)
    again._step = None
    assert again.run() == rows


def test_an_unreadable_checkpoint_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_progress(path, Progress(leg=1, batch=7))
    assert load_progress(path) == Progress(leg=1, batch=7)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"checkpoint.pt cannot be read.*--workdir"):
        load_progress(path)


def test_a_folder_with_another_runs_state_is_refused(tmp_path):
    text = Stream(TOKENS, n_bytes=100, text_sha256="a")
    settings = settings_for(1_000_000, rows=4, seed=0, precision="fp32")
    refuse_other_run(tmp_path, settings, text)
    refuse_other_run(tmp_path, settings, text)
    other = settings_for(1_000_000, rows=4, seed=1, precision="fp32")
    with pytest.raises(UserError, match="other seed"):
        refuse_other_run(tmp_path, other, text)
    with pytest.raises(UserError, match="other text_sha256"):
        refuse_other_run(tmp_path, settings, Stream(TOKENS, n_bytes=100, text_sha256="b"))


def test_the_batches_of_an_epoch_are_disjoint_rows_of_the_stream():
    stream = np.arange(20 * CONTEXT + 5)
    per_epoch = rows_per_epoch(stream) // 4
    rows = np.concatenate([batch(stream, b, rows=4, seed=3) for b in range(per_epoch)])
    assert (np.diff(rows, axis=1) == 1).all()
    assert len(np.unique(rows[:, 1:])) == rows[:, 1:].size
    offsets = {int(batch(stream, e * per_epoch, rows=4, seed=3)[0, 0]) % CONTEXT for e in range(9)}
    assert len(offsets) > 3


def test_a_batch_follows_from_seed_and_number_alone():
    stream = np.arange(9000)
    assert (batch(stream, 7, rows=4, seed=0) == batch(stream, 7, rows=4, seed=0)).all()
    assert (batch(stream, 7, rows=4, seed=0) != batch(stream, 7, rows=4, seed=1)).any()
    assert (batch(stream, 7, rows=4, seed=0) != batch(stream, 6, rows=4, seed=0)).any()


def test_too_little_text_for_a_batch_is_an_error():
    with pytest.raises(ValueError, match="a batch takes 16"):
        batch(np.arange(1000), 0, rows=16, seed=0)


def test_the_trunk_is_walked_once_and_every_branch_decays_to_nothing():
    schedule = Schedule(batches=1200, first_point=10, points=13, warmup=5)
    legs = list(schedule.legs())
    trunk = [leg for leg in legs if leg.point is None]
    branches = [leg for leg in legs if leg.point is not None]
    assert [leg.first for leg in trunk] == [0, *(leg.last for leg in trunk[:-1])]
    assert len(branches) == 13
    assert branches[-1].last == 1200
    for before, branch in zip(trunk, branches, strict=True):
        assert branch.first == before.last
        rates = [schedule.rate(branch, b) for b in range(branch.first, branch.last)]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] == 1.0
        assert rates[-1] == pytest.approx(1 / len(rates))
    assert {schedule.rate(leg, b) for leg in trunk for b in range(5, leg.last)} == {1.0}


def test_the_curves_points_are_geometrically_spaced():
    points = np.array(Schedule(batches=100_000, first_point=300, points=14).point_batches())
    ratios = points[1:] / points[:-1]
    assert ratios == pytest.approx(np.full(13, ratios.mean()), rel=0.01)

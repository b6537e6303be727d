from __future__ import annotations

import pytest
import torch

from sae_core.architectures import config_class
from sae_core.engine import train
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee

TOY = Superposition()
STATISTICS = statistics_of(TOY.sample(2048, step=10**6))


def trainee(name: str, *, steps: int) -> Trainee:
    config = config_class("topk")(n_latents=32, tokens=steps * 32, batch_size=32, k=3)
    return Trainee(config, name=name, statistics=STATISTICS, seed=0)


def batches(n: int):
    return (TOY.sample(32, step=step) for step in range(n))


def test_reports_come_at_intervals_and_when_one_finishes():
    reports = list(
        train([trainee("a", steps=5), trainee("b", steps=7)], batches(99), report_every=3)
    )
    assert [(r.step, r.tokens, r.finished) for r in reports] == [
        (3, 96, ()),
        (5, 160, ("a",)),
        (6, 192, ()),
        (7, 224, ("b",)),
    ]
    assert [sorted(r.metrics) for r in reports] == [["a", "b"], ["a", "b"], ["b"], ["b"]]


def test_metrics_are_means_over_the_interval():
    report = next(train([trainee("a", steps=4)], batches(4), report_every=4))
    twin = trainee("a", steps=4)
    steps = [twin.step(x) for x in batches(4)]
    for name, value in report.metrics["a"].items():
        expected = sum(float(step[name]) for step in steps) / 4
        assert float(value) == pytest.approx(expected, rel=1e-5)


def test_no_batch_is_taken_after_the_last_step():
    stream = batches(5)
    list(train([trainee("a", steps=3)], stream, report_every=1))
    assert len(list(stream)) == 2


def test_trainees_that_are_done_train_no_more():
    done = trainee("a", steps=2)
    list(train([done], batches(2), report_every=1))
    before = done.sae.W_enc.clone()
    assert list(train([done], batches(2), report_every=1)) == []
    assert torch.equal(done.sae.W_enc, before)


def test_batches_that_end_too_early_are_an_error():
    with pytest.raises(ValueError, match=r"'a': 96.*Repeat epochs"):
        list(train([trainee("a", steps=5)], batches(2), report_every=1))


def test_trainees_at_different_steps_are_refused():
    ahead = trainee("a", steps=5)
    ahead.step(TOY.sample(32, step=0))
    with pytest.raises(ValueError, match="different steps"):
        list(train([ahead, trainee("b", steps=5)], batches(5), report_every=1))


def test_shared_names_are_refused():
    with pytest.raises(ValueError, match="share names"):
        list(train([trainee("a", steps=5), trainee("a", steps=5)], batches(5), report_every=1))


def test_an_impossible_interval_is_refused():
    with pytest.raises(ValueError, match="report_every is 0"):
        list(train([trainee("a", steps=5)], batches(5), report_every=0))

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.comparisons import (
    ALL_SEEDS,
    GIVEN_SEEDS,
    GIVEN_WEIGHTS,
    compare,
    compare_seeds,
)
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.tables import DocumentTables
from pipeline.study.config import EvaluationConfig, ModelConfig
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Cell
from pipeline.training.identity import Run
from sae_core.architectures import config_class
from sae_core.metrics.token_metric import Setting
from tests.pipeline.evaluation.scene import constant_sae, identity_sae, swept

DOCUMENTS = 20


def evaluation(weights: str = "trained", seed: int = 0) -> Evaluation:
    cell = Cell(
        source=Source.parse(f"lm.{weights}.resid_post.1"),
        key=SaeKey("tiny", seed),
        model=ModelConfig(),
        recipe=config_class("relu")(n_latents=8, tokens=100),
        data_seed=0,
        evaluation=EvaluationConfig(bootstrap=4000),
        study="s",
    )
    name = f"{weights}{seed}"
    return Evaluation(Run(cell, "s", f"hash-{name}", Path(name)), "t", "e", Setting())


@pytest.fixture(scope="module")
def measured(lm, held_out) -> DocumentTables:
    return swept(lm, held_out, identity_sae())[0]


def with_l0(tables: DocumentTables, per_document: np.ndarray, tokens: int = 10) -> DocumentTables:
    """The same with a given L0 in each document of equally many tokens."""
    n = len(per_document)
    l0 = np.stack([np.full(n, float(tokens)), per_document * tokens], axis=1)
    others = {name: np.repeat(t[:1], n, axis=0) for name, t in tables.tables.items()}
    return replace(tables, documents=np.arange(n), tables={**others, "l0": l0})


def row_of(rows: list[dict], metric: str) -> dict:
    (row,) = [row for row in rows if row["metric"] == metric]
    return row


def test_a_constant_difference_has_no_spread_however_documents_vary(measured) -> None:
    spread = np.linspace(1, 100, DOCUMENTS)
    a, b = with_l0(measured, spread + 3), with_l0(measured, spread)
    row = row_of(compare((evaluation(), a), (evaluation("random"), b)), "l0")
    assert row["difference"] == pytest.approx(3)
    assert row["ci_low"] == pytest.approx(3)
    assert row["ci_high"] == pytest.approx(3)
    assert row["n"] == DOCUMENTS
    assert row["level"] == GIVEN_SEEDS
    assert (row["sae_a"], row["sae_b_hash"]) == ("lm.trained.resid_post.1/tiny.s0", "hash-random0")


def test_the_interval_of_a_difference_is_that_of_the_paired_mean(measured) -> None:
    noise = np.random.default_rng(0).normal(2, 1, DOCUMENTS)
    base = np.linspace(5, 50, DOCUMENTS)
    a, b = with_l0(measured, base + noise), with_l0(measured, base)
    row = row_of(compare((evaluation(), a), (evaluation("random"), b)), "l0")
    half = 1.96 * noise.std() / DOCUMENTS**0.5
    assert row["difference"] == pytest.approx(noise.mean())
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.25)


def test_every_number_but_the_trained_only_is_compared(measured) -> None:
    rows = compare((evaluation(), measured), (evaluation("random"), measured))
    names = {row["metric"] for row in rows}
    assert {"fvu", "l0", "mse", "ce_increase_nats", "kl_nats", "dead_eval"} <= names
    assert {"token_entropy", "single_token_latents", "latents_above_10pct"} <= names
    assert "compute_recovered" not in names
    for row in rows:
        assert row["difference"] is None or row["difference"] == 0
    assert row_of(rows, "dead_train")["reason"].startswith("no interval")
    assert (row_of(rows, "token_entropy")["ci_low"], row_of(rows, "fvu")["ci_high"]) == (0, 0)


def test_a_missing_value_is_named_with_its_side(lm, held_out, measured) -> None:
    helpless = replace(measured, tables=dict(measured.tables))
    losses = helpless.tables["loss_recovered"].copy()
    losses[:, 3] = losses[:, 1]
    helpless.tables["loss_recovered"] = losses
    rows = compare((evaluation(), measured), (evaluation("random"), helpless))
    row = row_of(rows, "loss_recovered_zero")
    assert row["difference"] is None
    assert row["reason"].startswith("b: zero ablation costs 0 nats")


def test_other_documents_are_not_compared(measured) -> None:
    moved = replace(measured, documents=measured.documents + 1)
    rows = compare((evaluation(), measured), (evaluation("random"), moved))
    assert rows
    assert {row["difference"] for row in rows} == {None}
    assert {row["reason"] for row in rows} == {"measured on different documents"}


def seeds(measured: DocumentTables, weights: str, l0: list[float]) -> list:
    documents = np.zeros(DOCUMENTS)
    return [
        (evaluation(weights, i), with_l0(measured, documents + value)) for i, value in enumerate(l0)
    ]


def test_seeds_are_resampled_from_three_on(measured) -> None:
    """No spread between documents: what is left is the spread of the mean of 3 + 3 seeds."""
    trained = seeds(measured, "trained", [1.0, 2.0, 3.0])
    random = seeds(measured, "random", [10.0, 10.0, 10.0])
    row = row_of(compare_seeds(trained, [random], name_b="b"), "l0")
    assert row["difference"] == pytest.approx(-8)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(-9), pytest.approx(-7))
    assert row["level"] == GIVEN_WEIGHTS
    assert row["sae_a"] == "lm.trained.resid_post.1/tiny.s*"
    assert (row["sae_b"], row["sae_a_hash"], row["sae_b_hash"]) == ("b", None, None)


def test_what_is_counted_on_all_documents_gets_an_interval_over_seeds(measured) -> None:
    """Dead shares 0, 1/4, 1/2 beside 1/4 three times: only the seeds vary."""
    f = len(measured.latents.n_fires)

    def with_dead(tables: DocumentTables, share: float) -> DocumentTables:
        n_fires = (np.arange(f) >= share * f).astype(np.int64)
        latents = tables.latents
        groups = np.zeros_like(latents.group_fires)  # as if no group made a difference
        return replace(tables, latents=replace(latents, n_fires=n_fires, group_fires=groups))

    trained, random = (
        [(e, with_dead(t, share)) for (e, t), share in zip(side, shares, strict=True)]
        for side, shares in (
            (seeds(measured, "trained", [1.0] * 3), (0, 0.25, 0.5)),
            (seeds(measured, "random", [1.0] * 3), (0.25, 0.25, 0.25)),
        )
    )
    row = row_of(compare_seeds(trained, [random], name_b="b"), "dead_eval")
    assert row["difference"] == pytest.approx(0)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(-0.25), pytest.approx(0.25))
    assert row["reason"].startswith("the interval resamples seeds alone")


def test_weights_seeds_are_resampled_as_well(measured) -> None:
    """Weights seeds differ, seeds within them do not: the interval spans the weights seeds."""
    trained = seeds(measured, "trained", [1.0, 1.0, 1.0])
    random = [seeds(measured, f"random@{i}", [value] * 2) for i, value in enumerate((4, 5, 6))]
    row = row_of(compare_seeds(trained, random, name_b="b"), "l0")
    assert row["difference"] == pytest.approx(-4)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(-5), pytest.approx(-3))
    assert row["level"] == ALL_SEEDS


def test_weights_seeds_count_alike_however_many_seeds_they_have(measured) -> None:
    trained = seeds(measured, "trained", [0.0] * 3)
    random = [
        seeds(measured, f"random@{i}", [v] * n) for i, (v, n) in enumerate(((3, 4), (6, 1), (9, 1)))
    ]
    row = row_of(compare_seeds(trained, random, name_b="b"), "l0")
    assert row["difference"] == pytest.approx(-6)


@pytest.mark.parametrize(("n_trained", "groups"), [(2, [3]), (3, [2]), (3, [2, 2]), (2, [1, 1, 1])])
def test_fewer_than_three_seeds_make_no_row(measured, n_trained: int, groups: list[int]) -> None:
    trained = seeds(measured, "trained", [1.0] * n_trained)
    random = [seeds(measured, f"random@{i}", [2.0] * n) for i, n in enumerate(groups)]
    assert compare_seeds(trained, random, name_b="b") == []


def test_constant_predictors_differ_where_they_should(lm, held_out) -> None:
    import torch

    good, bad = swept(lm, held_out, identity_sae(), constant_sae(torch.zeros(16)))
    rows = compare((evaluation(), good), (evaluation("random"), bad))
    fvu = row_of(rows, "fvu")
    assert fvu["difference"] < 0
    assert fvu["ci_high"] < 0
    assert row_of(rows, "l0")["difference"] == pytest.approx(16)

"""Frontiers from the tables are those of the metrics."""

from __future__ import annotations

import pytest

from pipeline.catalog.warehouse import query
from pipeline.errors import UserError
from pipeline.overview.frontier import arms, recipes_of
from pipeline.overview.pictures import frontier_picture
from pipeline.study.config import Study
from pipeline.workspace import Workspace
from sae_core.bootstrap import resample_counts
from sae_core.frontier_comparison import compare_at, family_frontier, value_with_interval

SOURCE = "pylm.trained.resid_post.1"


def test_the_points_are_the_means_of_the_metrics(world: tuple[Workspace, Study]) -> None:
    workspace, _ = world
    assert recipes_of(workspace, SOURCE) == ["topk8"]
    sql = f"""SELECT avg(l0) AS l0, avg(mse) AS mse, 1 - avg(loss_recovered_zero) AS lost
    FROM pareto_frontier WHERE source = '{SOURCE}'"""
    (expected,) = query(workspace, sql).to_pylist()
    for quantity, name in (("mse", "mse"), ("loss_not_recovered", "lost")):
        found = family_frontier(arms(workspace, SOURCE, ["topk8"], quantity))
        assert found.l0[0] == pytest.approx(expected["l0"])
        assert found.loss[0] == pytest.approx(expected[name])


def test_an_arm_compared_with_itself_is_no_different(world: tuple[Workspace, Study]) -> None:
    workspace, _ = world
    family = arms(workspace, SOURCE, ["topk8"], "mse")
    counts = resample_counts(family[0].active.shape[1], 50, seed=0)
    l0 = float(family_frontier(family).l0[0])
    told = compare_at(family, family, l0, counts, seed=0)
    assert told.difference.value == 0
    measured = value_with_interval(family, l0, counts, seed=0)
    assert measured.value == pytest.approx(told.a)
    assert measured.ci_low is not None
    assert measured.ci_high is not None
    assert measured.ci_low < told.a < measured.ci_high
    assert measured.reason == "given these seeds: fewer than 3"


def test_what_was_not_measured_is_refused_with_what_there_is(
    world: tuple[Workspace, Study],
) -> None:
    workspace, _ = world
    with pytest.raises(UserError, match="Allowed"):
        arms(workspace, SOURCE, ["topk8"], "beauty")
    with pytest.raises(UserError, match="There are: topk8"):
        arms(workspace, SOURCE, ["topk8", "gated"], "mse")


def test_the_picture_is_one(world: tuple[Workspace, Study]) -> None:
    workspace, _ = world
    family = arms(workspace, SOURCE, ["topk8"], "mse")
    assert frontier_picture({"topk": family}, "mse").startswith(b"\x89PNG")
    assert frontier_picture({}, "mse").startswith(b"\x89PNG")

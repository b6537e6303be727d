"""Frontiers from the tables are those of the metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.catalog.warehouse import query
from pipeline.catalog.write import write_run
from pipeline.cli.app import main
from pipeline.errors import UserError
from pipeline.overview.frontier import arms, recipes_of
from pipeline.overview.pictures import frontier_picture
from pipeline.study.config import Study
from pipeline.workspace import Workspace
from sae_core.bootstrap import resample_counts
from sae_core.frontier_comparison import compare_at, family_frontier, value_with_interval
from tests.pipeline.catalog.rows import row, sae

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


def test_the_command_compares_a_family_with_another(
    world: tuple[Workspace, Study], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = world
    given = ["--workspace", str(workspace.root), "frontier", SOURCE, "topk*"]

    def told(*more: str) -> str:
        with pytest.raises(SystemExit, match="0"):
            main([*given, *more])
        return capsys.readouterr().out

    answer = json.loads(told("topk8", "--json"))
    (front,) = answer["families"][0]["points"]
    family = arms(workspace, SOURCE, ["topk8"], "mse")
    assert front["l0"] == pytest.approx(float(family_frontier(family).l0[0]))
    assert answer["families"][0]["at_l0"]["value"] == pytest.approx(front["loss"])
    assert answer["difference"]["at_l0"]["value"] == 0
    assert answer["difference"]["area"]["value"] == 0
    text = told("topk8", "--loss", "loss_not_recovered")
    assert "topk* less topk8; below 0 the first is better" in text
    assert "2 seeds" in text
    assert "not known (L0 = 99 is not between" in told("--l0", "99")
    with pytest.raises(SystemExit, match="2"):
        main([*given[:-1], "gated*"])
    assert "There are: topk8" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*given[:-2], "pylm.trained.resid_post.0", "topk*"])
    assert f"Sources that have: pylm.random.resid_post.1, {SOURCE}" in capsys.readouterr().err


def test_a_random_network_has_no_loss_to_recover(
    world: tuple[Workspace, Study], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = world
    random = SOURCE.replace("trained", "random")
    given = ["--workspace", str(workspace.root), "frontier", random, "topk8"]
    with pytest.raises(SystemExit, match="2"):
        main([*given, "--loss", "loss_not_recovered"])
    assert "there is no loss to recover. `--loss mse`" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(given)


def test_losses_that_were_not_measured_are_told(tmp_path: Path) -> None:
    workspace, name = Workspace.open(tmp_path), "m.gaussian.resid_post.0/t.s0"
    told = {"sae": name, "sae_hash": "h", "evaluation_hash": "e", "document": 0}
    sums = row("document_sums", **told, n_tokens=8, n_active=16, squared_error=1.0)
    write_run(workspace, "r", {"saes": [sae(name)], "document_sums": [sums]}, kind="x")
    with pytest.raises(UserError, match="losses were not measured on it"):
        arms(workspace, "m.gaussian.resid_post.0", ["t"], "loss_not_recovered")
    (arm,) = arms(workspace, "m.gaussian.resid_post.0", ["t"], "mse")
    assert arm.loss.tolist() == [[1.0]]

"""The view of frontiers: who dominates whom."""

from __future__ import annotations

from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import ask, metric, sae


def test_the_frontier_names_who_dominates(workspace: Workspace) -> None:
    points = {"a": (10, 0.5), "b": (20, 0.3), "c": (20, 0.4), "d": (30, 0.35), "e": (10, 0.5)}
    names = {key: f"m.trained.resid_post.0/{key}.s0" for key in points}
    rows = {
        "saes": [sae(name) for name in names.values()],
        "metrics": [
            metric(names[key], of, float(value))
            for key, pair in points.items()
            for of, value in zip(("l0", "fvu"), pair, strict=True)
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    found = {
        one["recipe"]: (one["dominated"], one["dominated_by"])
        for one in ask(workspace, "FROM pareto_frontier")
    }
    assert found == {
        "a": (False, None),
        "b": (False, None),
        "c": (True, names["b"]),
        "d": (True, names["b"]),
        "e": (False, None),
    }


def test_the_frontier_of_loss_is_another_one(workspace: Workspace) -> None:
    """b loses more variance than a at the same L0 but costs the LM less; c has no loss."""
    points = {"a": (10, 0.4, 0.9), "b": (10, 0.5, 0.2), "c": (5, 0.6, None)}
    names = {key: f"m.trained.resid_post.0/{key}.s0" for key in points}
    rows = {
        "saes": [sae(name) for name in names.values()],
        "metrics": [
            metric(names[key], of, value)
            for key, told in points.items()
            for of, value in zip(("l0", "fvu", "ce_increase_nats"), told, strict=True)
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    found = {
        one["recipe"]: (one["dominated_by"], one["loss_dominated"], one["loss_dominated_by"])
        for one in ask(workspace, "FROM pareto_frontier")
    }
    assert found == {
        "a": (None, True, names["b"]),
        "b": (names["a"], False, None),
        "c": (None, None, None),
    }

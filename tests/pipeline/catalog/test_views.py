"""What every view has: answers from the start, comments, the columns of its table."""

from __future__ import annotations

import pytest

from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import connect, query
from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from sae_core.metrics import definitions
from tests.pipeline.catalog.rows import A, B, ask, metric, sae

SUMMARIES = (
    "evaluations",
    "trained_vs_random",
    "seed_stability",
    "pareto_frontier",
    "latent_stability",
    "width_classes",
    "latent_profiles",
    "latents_vs_random",
    "latent_histograms",
    "cut_against_trained",
)


@pytest.mark.parametrize("view", [*TABLES, *SUMMARIES])
def test_every_view_answers_before_anything_exists(workspace: Workspace, view: str) -> None:
    assert query(workspace, f"SELECT * FROM {view}").num_rows == 0


def test_every_view_and_column_is_commented(workspace: Workspace) -> None:
    with connect(workspace) as connection:
        bare = connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL "
            "UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns() "
            "WHERE NOT internal AND coalesce(comment, '') = ''"
        ).fetchall()
        views = {
            name
            for (name,) in connection.execute(
                "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
            ).fetchall()
        }
    assert bare == []
    assert views == {*TABLES, *SUMMARIES, "metric_definitions", "claims"}


def test_a_views_columns_are_its_tables_and_the_run(workspace: Workspace) -> None:
    for table in TABLES.values():
        names = query(workspace, f"SELECT * FROM {table.name}").column_names
        assert sorted(names) == sorted(["run", *(column.name for column in table.columns)])


def test_metric_definitions_are_the_codes(workspace: Workspace) -> None:
    found = ask(workspace, "SELECT metric, metric_version, formula FROM metric_definitions")
    assert found == [
        {"metric": d.name, "metric_version": d.version, "formula": d.formula} for d in definitions()
    ]


def test_recipes_of_equal_content_are_two_saes(workspace: Workspace) -> None:
    twin = "m.trained.resid_post.0/u.s0"
    write_run(workspace, "r1", {"saes": [sae(A)]}, kind="x")
    write_run(workspace, "r2", {"saes": [sae(twin)]}, kind="x")
    assert {found["sae"] for found in ask(workspace, "FROM saes")} == {A, twin}


def test_evaluations_have_one_row_per_sae_and_a_column_per_metric(workspace: Workspace) -> None:
    write_run(workspace, "r1", {"saes": [sae(A, digest="old"), sae(B)]}, kind="x")
    write_run(workspace, "r2", {"saes": [sae(A)]}, kind="x")
    rows = [
        metric(A, "fvu", 0.25, ci_low=0.2, ci_high=0.3),
        metric(A, "fvu", 0.99, sae_hash="old"),
        metric(A, "loss_recovered_zero", None, reason="nothing to recover"),
    ]
    write_run(workspace, "r3", {"metrics": rows}, kind="x")
    first, second = ask(workspace, "SELECT * FROM evaluations ORDER BY sae")
    assert (first["sae"], first["sae_hash"], first["weights"]) == (A, "h", "trained")
    assert (first["fvu"], first["fvu_ci_low"], first["fvu_ci_high"]) == (0.25, 0.2, 0.3)
    assert first["loss_recovered_zero"] is None
    assert (second["sae"], second["fvu"], second["evaluation_hash"]) == (B, None, None)
    assert {d.name for d in definitions()} <= set(first)


def test_a_metric_that_a_run_wrote_twice_leaves_the_wide_view_readable(
    workspace: Workspace,
) -> None:
    rows = {"saes": [sae(A)], "metrics": [metric(A, "fvu", 0.25), metric(A, "fvu", None)]}
    write_run(workspace, "r1", rows, kind="x")
    assert ask(workspace, "SELECT fvu, l0 FROM evaluations") == [{"fvu": 0.25, "l0": None}]

from __future__ import annotations

import json
import shutil

import duckdb
import pytest

from pipeline.catalog import parts, tables
from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import connect, query, refresh
from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from sae_core.metrics import definitions
from tests.pipeline.catalog.rows import match, metric, row, sae

A, B, R = "m.trained.resid_post.0/t.s0", "m.trained.resid_post.0/t.s1", "m.random.resid_post.0/t.s0"
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


def _ask(workspace: Workspace, sql: str) -> list[dict[str, object]]:
    return query(workspace, sql).to_pylist()


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
    found = _ask(workspace, "SELECT metric, metric_version, formula FROM metric_definitions")
    assert found == [
        {"metric": d.name, "metric_version": d.version, "formula": d.formula} for d in definitions()
    ]


def test_the_newest_run_of_a_key_shows_and_other_keys_stay(workspace: Workspace) -> None:
    first = {"metrics": [metric(A, "l0", 1.0), metric(A, "fvu", 0.9)]}
    write_run(workspace, "z-first", first, kind="x")
    write_run(workspace, "a-second", {"metrics": [metric(A, "l0", 2.0)]}, kind="x")
    found = _ask(workspace, "SELECT metric, value FROM metrics ORDER BY metric")
    assert found == [{"metric": "fvu", "value": 0.9}, {"metric": "l0", "value": 2.0}]


def test_latents_of_one_sae_come_from_one_run(workspace: Workspace) -> None:
    def latents(n: int) -> dict[str, list[dict[str, object]]]:
        return {"latents": [row("latents", sae=A, sae_hash="h", latent=i) for i in range(n)]}

    write_run(workspace, "r1", latents(5), kind="x")
    write_run(workspace, "r2", latents(3), kind="x")
    assert _ask(workspace, "SELECT count(*) AS n, any_value(run) AS r FROM latents") == [
        {"n": 3, "r": "r2"}
    ]


def test_rows_of_long_tables_show_as_those_of_others_do(workspace: Workspace) -> None:
    """Both shapes of view: an older run of one key and the only run of another one."""
    for table in TABLES.values():
        if not table.is_long:
            continue
        other = {name: "other" for name in table.key}
        for run, n in (("z-first", 3), ("a-second", 2)):
            same = [row(table.name, **{name: "same" for name in table.key}) for _ in range(n)]
            alone = [row(table.name, **other)] if run == "z-first" else []
            write_run(workspace, f"{run}-{table.name}", {table.name: same + alone}, kind="x")
        sql = f"SELECT sae_a AS sae, run FROM {table.name}"
        sql = sql if "sae_a" in table.key else sql.replace("sae_a AS ", "")
        found = sorted((one["sae"], one["run"].rsplit("-", 1)[0]) for one in _ask(workspace, sql))
        assert found == [("other", "z-first"), ("same", "a-second"), ("same", "a-second")]


def _operators(node: dict[str, object]) -> list[tuple[str, int]]:
    """What a profiled query did, as names of operators and the rows that each gave."""
    one = [(str(node["type"]), int(str(node["intermediate_rows"])))] if "type" in node else []
    return one + [found for child in node.get("children", []) for found in _operators(child)]


def _joins(node: dict[str, object]) -> list[str]:
    """The kinds of join of a profiled query."""
    one = [node["extra_info"]["Join Type"]] if node.get("type") == "HASH_JOIN" else []
    return one + [found for child in node.get("children", []) for found in _joins(child)]


def test_rows_of_long_tables_are_neither_sorted_nor_copied_into_a_hash_table(
    workspace: Workspace,
) -> None:
    """A window over the keys that there are is cheap; one over the rows costs seconds."""
    for table in TABLES.values():
        if not table.is_long:
            continue
        one = row(table.name, **{name: "x" for name in table.key})
        for run in ("first", "second"):
            write_run(workspace, f"{run}-{table.name}", {table.name: [one] * 50}, kind="x")
        with connect(workspace) as connection:
            connection.execute(f"SELECT count(run) FROM {table.name}").fetchall()
            sql = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(run) FROM {table.name}"
            told = json.loads(connection.execute(sql).fetchall()[0][1])
        done = _operators(told["operator"][0])
        assert ("HASH_JOIN", 50) in done, done
        assert [rows for name, rows in done if name == "WINDOW"] == [2], done
        joins = [one for one in _joins(told["operator"][0]) if one == "ANTI"]
        assert joins == ["ANTI"], "RIGHT_ANTI would hash every row"


def test_recipes_of_equal_content_are_two_saes(workspace: Workspace) -> None:
    twin = "m.trained.resid_post.0/u.s0"
    write_run(workspace, "r1", {"saes": [sae(A)]}, kind="x")
    write_run(workspace, "r2", {"saes": [sae(twin)]}, kind="x")
    assert {found["sae"] for found in _ask(workspace, "FROM saes")} == {A, twin}


def test_evaluations_have_one_row_per_sae_and_a_column_per_metric(workspace: Workspace) -> None:
    write_run(workspace, "r1", {"saes": [sae(A, digest="old"), sae(B)]}, kind="x")
    write_run(workspace, "r2", {"saes": [sae(A)]}, kind="x")
    rows = [
        metric(A, "fvu", 0.25, ci_low=0.2, ci_high=0.3),
        metric(A, "fvu", 0.99, sae_hash="old"),
        metric(A, "loss_recovered_zero", None, reason="nothing to recover"),
    ]
    write_run(workspace, "r3", {"metrics": rows}, kind="x")
    first, second = _ask(workspace, "SELECT * FROM evaluations ORDER BY sae")
    assert (first["sae"], first["sae_hash"], first["weights"]) == (A, "h", "trained")
    assert (first["fvu"], first["fvu_ci_low"], first["fvu_ci_high"]) == (0.25, 0.2, 0.3)
    assert first["loss_recovered_zero"] is None
    assert (second["sae"], second["fvu"], second["evaluation_hash"]) == (B, None, None)
    assert {d.name for d in definitions()} <= set(first)


def test_trained_beside_random_shows_both_values(workspace: Workspace) -> None:
    comparison = row(
        "comparisons",
        sae_a=A,
        sae_a_hash="h",
        sae_b=R,
        sae_b_hash="h",
        metric="fvu",
        difference=-0.5,
    )
    rows = {
        "saes": [sae(A), sae(R)],
        "metrics": [metric(A, "fvu", 0.25), metric(R, "fvu", 0.75)],
        "comparisons": [comparison, comparison | {"sae_b_hash": "gone"}],
    }
    write_run(workspace, "r1", rows, kind="x")
    (found,) = _ask(workspace, "FROM trained_vs_random")
    assert (found["trained"], found["random"], found["difference"]) == (0.25, 0.75, -0.5)
    assert (found["trained_weights"], found["random_weights"]) == ("trained", "random")


def test_trained_beside_random_has_all_seeds_together(workspace: Workspace) -> None:
    """Trained 1 and 3; random@0 10, random@1 20 and 40: each weights seed counts alike."""
    site = "resid_post.0"
    values = {
        A: 1.0,
        B: 3.0,
        R: 10.0,
        f"m.random@1.{site}/t.s0": 20.0,
        f"m.random@1.{site}/t.s1": 40.0,
    }
    group = f"m.trained.{site}/t.s*"
    rows = {
        "saes": [sae(name) for name in values],
        "metrics": [metric(name, "fvu", value) for name, value in values.items()],
        "comparisons": [
            row("comparisons", sae_a=group, sae_b=f"m.{of}.{site}/t.s*", metric="fvu", level="all")
            for of in ("random@1", "random@*")
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    found = _ask(workspace, "FROM trained_vs_random ORDER BY random_weights")
    assert [(one["trained"], one["random"], one["random_weights"]) for one in found] == [
        (2.0, 20.0, "random@*"),
        (2.0, 30.0, "random@1"),
    ]
    assert {(one["seed"], one["recipe"], one["site"], one["layer"]) for one in found} == {
        (None, "t", site, 0)
    }
    assert {one["sae_trained"] for one in found} == {group}


def latents(name: str, *told: tuple[int, float | None, float | None]) -> list[dict[str, object]]:
    """Rows of `latents` over 1,000 tokens: fires, token entropy and share of the top token."""
    return [
        row(
            "latents",
            sae=name,
            sae_hash="h",
            latent=i,
            n_fires=fires,
            firing_frequency=fires / 1000,
            token_entropy=entropy,
            top_token_share=share,
        )
        for i, (fires, entropy, share) in enumerate(told)
    ]


def test_latents_stand_beside_their_twins_as_populations(workspace: Workspace) -> None:
    rows = {
        "saes": [sae(A), sae(B), sae(R)],
        "latents": [
            # Dead; too rare for its tokens to count; of one token; dense.
            *latents(A, (0, None, None), (2, 0.0, 1.0), (20, 0.3, 0.95), (101, 2.1, 0.2)),
            *latents(B, (100, 1.0, 0.5)),
            *latents(R, (500, 3.0, 0.1), (400, 3.2, 0.1)),
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    (pair,) = _ask(workspace, "FROM latents_vs_random")
    assert (pair["sae_trained"], pair["sae_random"], pair["random_weights"]) == (A, R, "random")
    assert (pair["trained_n_latents"], pair["random_n_latents"]) == (4, 2)
    assert (pair["trained_alive_share"], pair["random_alive_share"]) == (0.75, 1.0)
    assert (pair["trained_above_1pct"], pair["trained_above_10pct"]) == (0.5, 0.25)
    assert (pair["random_above_1pct"], pair["random_above_10pct"]) == (1.0, 1.0)
    assert pair["trained_frequency_median"] == 0.02
    assert pair["trained_single_token_share"] == 0.5
    assert pair["trained_entropy_mean"] == pytest.approx(1.2)
    assert pair["random_entropy_mean"] == pytest.approx(3.1)
    # Exactly 10 % of the tokens is not more than 10 %.
    assert _ask(workspace, f"SELECT above_10pct FROM latent_profiles WHERE sae = '{B}'") == [
        {"above_10pct": 0.0}
    ]


def test_histograms_hold_every_living_latent_once(workspace: Workspace) -> None:
    rows = {
        "saes": [sae(A)],
        "latents": latents(A, (0, None, None), (2, 0.0, 1.0), (20, 0.3, 0.9), (1000, 2.1, 0.2)),
    }
    write_run(workspace, "r1", rows, kind="x")
    found = _ask(
        workspace,
        "SELECT quantity, low, high, n_in_bin, share FROM latent_histograms ORDER BY quantity, low",
    )
    assert [tuple(one.values()) for one in found] == [
        ("firing_frequency", -2.75, -2.5, 1, 0.25),
        ("firing_frequency", -1.75, -1.5, 1, 0.25),
        ("firing_frequency", 0.0, 0.25, 1, 0.25),
        ("token_entropy", 0.0, 0.5, 1, 0.25),
        ("token_entropy", 2.0, 2.5, 1, 0.25),
    ]


def test_the_views_count_latents_as_the_metrics_do() -> None:
    from pipeline.catalog import baseline_summaries
    from sae_core.metrics import token_statistics

    assert baseline_summaries.MIN_FIRES == token_statistics.MIN_FIRES
    assert baseline_summaries.SINGLE == token_statistics.SINGLE


def test_seed_stability_counts_a_pair_once_whichever_way_it_is_written(
    workspace: Workspace,
) -> None:
    third = "m.trained.resid_post.0/t.s2"
    matches = [
        match(A, B, 0.8),
        match(B, A, 0.8),
        match(A, third, 0.4),
        match(A, R, 0.1, pair="other_weights"),
    ]
    rows = {"saes": [sae(A), sae(B), sae(third), sae(R)], "dictionary_matches": matches}
    write_run(workspace, "r1", rows, kind="x")
    (found,) = _ask(workspace, "FROM seed_stability")
    assert (found["recipe"], found["n_pairs"]) == ("t", 2)
    assert found["mean_mmcs"] == pytest.approx(0.6)
    assert found["min_mmcs"] == 0.4


def test_a_latents_stability_is_over_the_other_seeds_of_its_recipe(workspace: Workspace) -> None:
    third, other = "m.trained.resid_post.0/t.s2", "m.trained.resid_post.0/u.s0"

    def found(b: str, latent: int, cosine: float, partner: float | None) -> dict[str, object]:
        return row(
            "latent_matches",
            sae_a=A,
            sae_a_hash="h",
            latent_a=latent,
            sae_b=b,
            sae_b_hash="h",
            latent_b=0,
            cosine=cosine,
            encoder_cosine=cosine / 2,
            partner_cosine=partner,
        )

    matches = [
        found(B, 0, 0.9, 0.9),
        found(third, 0, 0.8, 0.5),
        found(B, 1, 0.2, None),
        found(other, 0, 1.0, 1.0),
        found(R, 0, 1.0, 1.0),
    ]
    latent = row("latents", sae=A, sae_hash="h", latent=0, firing_frequency=0.1, token_entropy=2.0)
    saes = [sae(name) for name in (A, B, third, other, R)]
    rows = {"saes": saes, "latents": [latent], "latent_matches": matches}
    write_run(workspace, "r1", rows, kind="x")
    first, second = _ask(workspace, "FROM latent_stability ORDER BY latent")
    assert (first["n_seeds"], first["found_by"], first["min_cosine"]) == (2, 0.5, 0.8)
    assert first["mean_cosine"] == pytest.approx(0.85)
    assert first["mean_encoder_cosine"] == pytest.approx(0.425)
    assert (first["firing_frequency"], first["token_entropy"]) == (0.1, 2.0)
    assert (second["n_seeds"], second["found_by"], second["firing_frequency"]) == (1, 0.0, None)


def test_latents_of_a_wider_dictionary_have_a_class_and_its_evidence(workspace: Workspace) -> None:
    wide = "m.trained.resid_post.0/w.s0"
    pair = {"sae_a": wide, "sae_a_hash": "h", "sae_b": A, "sae_b_hash": "h"}
    told = ["shared", "split", "absorbed", None]
    matches = [
        row("latent_matches", **pair, latent_a=i, latent_b=7, cosine=0.5, width_class=one, rival=i)
        for i, one in enumerate(told)
    ]
    back = {"sae_a": A, "sae_a_hash": "h", "sae_b": wide, "sae_b_hash": "h"}
    matches.append(row("latent_matches", **back, latent_a=0, latent_b=0, cosine=0.95))
    saes = [sae(A, n_latents=8), sae(wide, n_latents=16)]
    write_run(workspace, "r1", {"saes": saes, "latent_matches": matches}, kind="x")
    found = _ask(workspace, "FROM width_classes ORDER BY latent")
    assert [one["class"] for one in found] == told
    assert {(one["sae_narrow"], one["sae_wide"], one["best_latent"]) for one in found} == {
        (A, wide, 7)
    }
    assert [one["rival"] for one in found] == [0, 1, 2, 3]


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
        for one in _ask(workspace, "FROM pareto_frontier")
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
        for one in _ask(workspace, "FROM pareto_frontier")
    }
    assert found == {
        "a": (None, True, names["b"]),
        "b": (names["a"], False, None),
        "c": (None, None, None),
    }


def test_a_column_that_comes_later_is_null_in_older_parts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(workspace, "r1", {"metrics": [metric(A, "l0", 1.0)]}, kind="x")
    assert _ask(workspace, "SELECT count(*) AS n FROM metrics") == [{"n": 1}]
    old = TABLES["metrics"]
    more = tables.Column("unit", "VARCHAR", "new")
    later = tables.Table(old.name, old.comment, (*old.columns, more), old.key)
    monkeypatch.setitem(TABLES, "metrics", later)
    write_run(workspace, "r2", {"metrics": [metric(A, "fvu", 1.0, unit="x")]}, kind="x")
    found = _ask(workspace, "SELECT metric, unit FROM metrics ORDER BY metric")
    assert found == [{"metric": "fvu", "unit": "x"}, {"metric": "l0", "unit": None}]


def test_any_duckdb_shell_sees_the_same(workspace: Workspace) -> None:
    refresh(workspace)
    write_run(workspace, "r1", {"saes": [sae(A)]}, kind="x")
    with duckdb.connect(str(workspace.warehouse), read_only=True) as shell:
        assert shell.execute("SELECT sae FROM evaluations").fetchall() == [(A,)]
        version = shell.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name='warehouse'"
        ).fetchone()
        tables_of_data = shell.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
    assert version is not None
    assert str(version[0]).startswith("v1.0.0")
    assert tables_of_data == (0,)


def test_the_views_file_is_replaced_only_when_its_sql_changed(workspace: Workspace) -> None:
    refresh(workspace)
    before = workspace.warehouse.stat()
    refresh(workspace)
    assert workspace.warehouse.stat() == before
    workspace.warehouse.unlink()
    refresh(workspace)
    assert workspace.warehouse.exists()


def test_a_moved_workspace_gets_new_paths(workspace: Workspace) -> None:
    refresh(workspace)
    write_run(workspace, "r1", {"saes": [sae(A)]}, kind="x")
    moved = workspace.root.with_name("moved")
    shutil.move(workspace.root, moved)
    there = Workspace.open(moved)
    refresh(there)
    with duckdb.connect(str(there.warehouse), read_only=True) as shell:
        assert shell.execute("SELECT count(*) FROM saes").fetchone() == (1,)


def test_a_views_file_with_unwritten_changes_is_left_alone(workspace: Workspace) -> None:
    refresh(workspace)
    (workspace.tables / ".views").unlink()
    wal = workspace.warehouse.with_name("warehouse.duckdb.wal")
    wal.write_bytes(b"somebody's changes")
    before = workspace.warehouse.stat().st_ino
    assert not refresh(workspace)
    assert workspace.warehouse.stat().st_ino == before
    wal.unlink()
    assert refresh(workspace)
    assert workspace.warehouse.stat().st_ino != before


def test_a_workspace_whose_path_has_quotes_and_stars_works(workspace: Workspace) -> None:
    odd = Workspace.open(workspace.root / "it's [a] *star*")
    refresh(odd)
    write_run(odd, "r1", {"saes": [sae(A)]}, kind="x")
    assert query(odd, "FROM saes").num_rows == 1
    with duckdb.connect(str(odd.warehouse), read_only=True) as shell:
        assert shell.execute("SELECT count(*) FROM saes").fetchone() == (1,)


def test_parts_never_change_their_name_for_another_schema(workspace: Workspace) -> None:
    parts.lay_out(workspace)
    before = {path: path.stat().st_mtime_ns for path in workspace.tables.rglob("*.parquet")}
    parts.lay_out(workspace)
    assert before == {p: p.stat().st_mtime_ns for p in workspace.tables.rglob("*.parquet")}
    assert len(before) == 2 * len(TABLES)

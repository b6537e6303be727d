"""Of several runs of one key the newest shows, and finding it costs little."""

from __future__ import annotations

import json

from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import connect
from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import A, ask, metric, row


def test_the_newest_run_of_a_key_shows_and_other_keys_stay(workspace: Workspace) -> None:
    first = {"metrics": [metric(A, "l0", 1.0), metric(A, "fvu", 0.9)]}
    write_run(workspace, "z-first", first, kind="x")
    write_run(workspace, "a-second", {"metrics": [metric(A, "l0", 2.0)]}, kind="x")
    found = ask(workspace, "SELECT metric, value FROM metrics ORDER BY metric")
    assert found == [{"metric": "fvu", "value": 0.9}, {"metric": "l0", "value": 2.0}]


def test_latents_of_one_sae_come_from_one_run(workspace: Workspace) -> None:
    def latents(n: int) -> dict[str, list[dict[str, object]]]:
        return {"latents": [row("latents", sae=A, sae_hash="h", latent=i) for i in range(n)]}

    write_run(workspace, "r1", latents(5), kind="x")
    write_run(workspace, "r2", latents(3), kind="x")
    assert ask(workspace, "SELECT count(*) AS n, any_value(run) AS r FROM latents") == [
        {"n": 3, "r": "r2"}
    ]


LONG = [table for table in TABLES.values() if table.is_long]


def test_rows_of_long_tables_show_as_those_of_others_do(workspace: Workspace) -> None:
    """Both shapes of view: an older run of one key and the only run of another one."""
    for run, n in (("z-first", 3), ("a-second", 2)):
        rows = {
            table.name: [row(table.name, **dict.fromkeys(table.key, "same"))] * n for table in LONG
        }
        if run == "z-first":
            for table in LONG:
                rows[table.name].append(row(table.name, **dict.fromkeys(table.key, "other")))
        write_run(workspace, run, rows, kind="x")
    with connect(workspace) as connection:
        for table in LONG:
            sql = f"SELECT {table.key[0]}, run FROM {table.name} ORDER BY ALL"
            found = connection.execute(sql).fetchall()
            assert found == [("other", "z-first"), *[("same", "a-second")] * 2], table.name


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
    for run in ("first", "second"):
        fifty = {t.name: [row(t.name, **dict.fromkeys(t.key, "x"))] * 50 for t in LONG}
        write_run(workspace, run, fifty, kind="x")
    with connect(workspace) as connection:
        for table in LONG:
            sql = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(run) FROM {table.name}"
            told = json.loads(connection.execute(sql).fetchall()[0][1])["operator"][0]
            done = _operators(told)
            assert ("HASH_JOIN", 50) in done, done
            assert [rows for name, rows in done if name == "WINDOW"] == [2], done
            joins = [one for one in _joins(told) if "ANTI" in one]
            assert joins == ["ANTI"], "RIGHT_ANTI would hash every row"

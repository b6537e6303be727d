"""What `sae sql` must not do: write, attach, install, change settings, reach other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.catalog.warehouse import connect, query
from pipeline.catalog.write import write_run
from pipeline.errors import UserError
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import sae

NAME = "m.trained.resid_post.0/t.s0"

NOT_READING = [
    "COPY (SELECT 1) TO '{tables}/saes/x.parquet'",
    "COPY saes TO '{outside}/x.csv'",
    "EXPLAIN COPY (SELECT 1) TO '{outside}/x.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{tables}/x.csv'",
    "explain /* ( */ analyze -- x\n copy (select 1) to '{tables}/x.csv'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{tables}/x.csv'",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{tables}/x.csv'",
    "EXPLAIN (FORMAT json) EXPLAIN ANALYZE COPY (SELECT 1) TO '{tables}/x.csv'",
    "EXPLAIN (ANALYZE) SELECT 1; COPY (SELECT 1) TO '{tables}/x.csv'",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "EXPLAIN EXPLAIN ANALYZE COPY (SELECT 1) TO '{tables}/x.csv'",
    "CREATE TABLE t (a INT)",
    "CREATE OR REPLACE VIEW saes AS SELECT 1",
    "CREATE MACRO f(a) AS a",
    "DROP VIEW saes",
    "ALTER VIEW saes RENAME TO x",
    "INSERT INTO saes VALUES (1)",
    "UPDATE saes SET sae = ''",
    "DELETE FROM saes",
    "ATTACH '{outside}/x.duckdb'",
    "DETACH memory",
    "USE internal",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "SET VARIABLE tables = '/etc'",
    "RESET allowed_directories",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL enable_logging()",
    "EXPORT DATABASE '{outside}'",
    "IMPORT DATABASE '{outside}'",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "PREPARE p AS COPY (SELECT 1) TO '{tables}/x.csv'",
    "EXECUTE p",
    "SELECT 1; COPY (SELECT 1) TO '{tables}/x.csv'",
    "SELECT 1; SELECT 2",
]
OTHER_FILES = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('{outside}/secret.txt')",
    "SELECT * FROM '{outside}/secret.txt'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM glob('{outside}/*')",
    "SELECT * FROM read_text('{tables}/../workspace.json')",
    "SELECT * FROM read_json('{root}/workspace.json')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('https://example.org/x.parquet')",
    "EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{tables}/x.csv''')",
    "SELECT * FROM query('FROM read_text(''/etc/passwd'')')",
    "SELECT getenv('HOME')",
]


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sql", [*NOT_READING, *OTHER_FILES])
def test_it_is_refused_and_leaves_nothing(workspace: Workspace, tmp_path: Path, sql: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    assert query(workspace, "SELECT 1").num_rows == 1
    before = _files(tmp_path)
    text = sql.format(tables=workspace.tables, outside=outside, root=workspace.root)
    with pytest.raises(UserError):
        query(workspace, text)
    assert _files(tmp_path) == before


def test_the_views_still_stand_after_every_attempt(workspace: Workspace) -> None:
    write_run(workspace, "r1", {"saes": [sae(NAME)]}, kind="x")
    for sql in NOT_READING:
        with pytest.raises(UserError):
            query(workspace, sql.format(tables=workspace.tables, outside="/tmp", root="/tmp"))
    assert query(workspace, "FROM saes").num_rows == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sae FROM saes",
        "FROM saes",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a",
        "VALUES (1)",
        "TABLE saes",
        "DESCRIBE saes",
        "SHOW TABLES",
        "SUMMARIZE saes",
        "SELECT 1;",
        "-- a comment\nSELECT 1",
        "EXPLAIN SELECT 1",
        "EXPLAIN (SELECT 1)",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN (FORMAT json) SELECT 1",
        "EXPLAIN (ANALYZE) SELECT 1",
        "explain /* ( */ (analyze, format -- )\n json) (SELECT 1)",
        "PIVOT saes ON weights IN ('trained', 'random') USING count(*)",
        "SELECT view_name, comment FROM duckdb_views()",
    ],
)
def test_questions_are_answered(workspace: Workspace, sql: str) -> None:
    write_run(workspace, "r1", {"saes": [sae(NAME)]}, kind="x")
    assert query(workspace, sql).num_rows >= 1


def test_python_variables_of_the_caller_are_no_tables(workspace: Workspace) -> None:
    import pyarrow as pa

    secret = pa.table({"a": [1]})
    with pytest.raises(UserError, match="secret"):
        query(workspace, "SELECT * FROM secret")
    assert secret.num_rows == 1


def test_a_connection_reaches_no_other_file_either(workspace: Workspace) -> None:
    import duckdb

    with connect(workspace) as connection:
        for sql in ("SET enable_external_access = true", "FROM read_text('/etc/passwd')"):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELEC 1", "(?s)syntax error at or near.*takes one SELECT"),
        ("SELECT * FROM evaluation", "SHOW TABLES"),
        ("SELECT nope FROM saes", "(?s)nope.*DESCRIBE evaluations"),
        ("", "no statement was given.*takes one"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("COPY saes TO 'x'", "kind COPY.*only reads"),
        ("EXPLAIN (FORMAT jsn) SELECT 1", "jsn.*valid options are.*json"),
    ],
)
def test_an_error_says_what_is_wrong(workspace: Workspace, sql: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        query(workspace, sql)

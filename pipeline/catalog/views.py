"""The views: what people query. SQL is generated from the schema and the metric definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.catalog import summaries
from pipeline.catalog.tables import COMMITS, RUN, TABLES, Column, Table
from pipeline.claims.view import claims_view

if TYPE_CHECKING:
    from sae_core.metrics.definition import MetricDefinition

DEFINITION_COLUMNS = (
    Column("metric", "VARCHAR", "name of the metric"),
    Column("metric_version", "BIGINT", "version of the definition; raised when results change"),
    Column("unit", "VARCHAR", "unit of the value"),
    Column("better", "VARCHAR", "which direction is better, where one is"),
    Column("formula", "VARCHAR", "the formula"),
    Column("reference", "VARCHAR", "where the definition comes from"),
    Column("description", "VARCHAR", "what it tells"),
)

# Longer than any commit is stamped ahead of its appearance.
FAR_AHEAD_US = 10_000_000


@dataclass(frozen=True)
class View:
    """One view: its name, what it shows, its columns' comments, its SELECT."""

    name: str
    comment: str
    columns: tuple[tuple[str, str], ...]
    sql: str


def views(root: str) -> list[View]:
    """Every view; one comes after those it reads. `root` is SQL for the folder of the parts."""
    from sae_core.metrics import definitions

    metrics = list(definitions())
    tables = [_newest(root, table) for table in TABLES.values() if table is not COMMITS]
    made = [_runs(root), _commits(), *tables, _current_saes(root), _metric_definitions(metrics)]
    shown = [*summaries.summaries(metrics), claims_view()]
    return made + [View(*summary) for summary in shown]


def statements(root: str) -> list[str]:
    """The SQL that makes the views, in order."""
    sql = ["CREATE SCHEMA internal"]
    for view in views(root):
        sql.append(f"CREATE VIEW {view.name} AS {view.sql}")
        sql.append(f"COMMENT ON VIEW {view.name} IS {quoted(view.comment)}")
        sql += [
            f'COMMENT ON COLUMN {view.name}."{column}" IS {quoted(comment)}'
            for column, comment in view.columns
        ]
    return sql


def quoted(text: str) -> str:
    """A text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def _described(columns: tuple[Column, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((column.name, column.comment) for column in columns)


def _read(root: str, table: str) -> str:
    pattern = f"{root} || {quoted(f'/{table}/*.parquet')}"
    return f"read_parquet({pattern}, union_by_name = true, filename = true)"


def _runs(root: str) -> View:
    """Committed runs; after a compaction the newest record that names a run holds its rows.

    A record shows from its stamp on, compared with the start of the query: so all tables of one
    query agree, whichever moment their folders are listed at. A stamp far ahead is one from
    before the clock was set back: it counts.
    """
    kept = ",\n  ".join(f'any_value("{c.name}") AS "{c.name}"' for c in COMMITS.columns)
    sql = f"""
SELECT run,
  {kept},
  arg_max(parse_filename(filename, true), shows_from) AS part
FROM {_read(root, "commits")}
WHERE epoch_us(shows_from) - epoch_us(now()) NOT BETWEEN 1 AND {FAR_AHEAD_US}
GROUP BY run"""
    comment = "Committed runs, and the part that holds each run's rows now."
    columns = (*_described((RUN, *COMMITS.columns)), ("part", "file name of the part"))
    return View("internal.runs", comment, columns, sql)


def _commits() -> View:
    columns = (RUN, *COMMITS.columns)
    names = ", ".join(f'"{column.name}"' for column in columns)
    sql = f"SELECT {names} FROM internal.runs"
    return View("commits", COMMITS.comment, _described(columns), sql)


def _newest(root: str, table: Table) -> View:
    """Rows of committed runs, and of those the newest run per key."""
    if table.is_long:
        return _newest_of_many(root, table)
    key = ", ".join(f'"{name}"' for name in table.key)
    newest = f"rank() OVER (PARTITION BY {key} ORDER BY committed_at DESC, run DESC) = 1"
    return _live(root, table, table.name, table.comment, newest=newest)


def _newest_of_many(root: str, table: Table) -> View:
    """The same, without a look at each row's key: a window would sort every row.

    Parts hold the names of a key as a dictionary, so finding which there are takes a small part of
    reading. Rows are held against what does not show, not against what does: mostly that is
    nothing, and then they pass as they were read, their dictionaries kept for the joins to come.
    """
    key = ", ".join(f'"{name}"' for name in table.key)
    columns = (*table.columns, RUN)
    names = ", ".join(f'rows."{column.name}"' for column in columns)
    kept = ", ".join(f'"{name}" := "{name}"' for name in table.key)
    same = " AND ".join(f'rows."{name}" = hidden."{name}"' for name in table.key)
    sql = f"""
SELECT {names}
FROM {_read(root, table.name)} AS rows
ANTI JOIN (
  SELECT unnest(list(struct_pack({kept}, run := run, filename := filename)), recursive := true)
  FROM (
    SELECT {key}, found.run, filename
    FROM (SELECT {key}, run, filename FROM {_read(root, table.name)} GROUP BY ALL) AS found
    LEFT JOIN internal.runs AS runs
      ON found.run = runs.run AND parse_filename(found.filename, true) = runs.part
    QUALIFY runs.run IS NULL OR row_number() OVER (
      PARTITION BY {key}, runs.run IS NULL ORDER BY committed_at DESC, found.run DESC) > 1
  )
) AS hidden
  ON {same} AND rows.run = hidden.run AND rows.filename = hidden.filename"""
    return View(table.name, table.comment, _described(columns), sql)


def _current_saes(root: str) -> View:
    newest = "row_number() OVER (PARTITION BY sae ORDER BY committed_at DESC, run DESC) = 1"
    comment = "One row per SAE: its newest content."
    return _live(root, TABLES["saes"], "internal.current_saes", comment, newest=newest)


def _live(root: str, table: Table, name: str, comment: str, *, newest: str) -> View:
    columns = (*table.columns, RUN)
    names = ", ".join(f'"{column.name}"' for column in columns)
    sql = f"""
SELECT {names}
FROM (
  SELECT rows.*, runs.committed_at
  FROM {_read(root, table.name)} AS rows
  JOIN internal.runs AS runs
    ON rows.run = runs.run AND parse_filename(rows.filename, true) = runs.part
)
QUALIFY {newest}"""
    return View(name, comment, _described(columns), sql)


def _metric_definitions(metrics: list[MetricDefinition]) -> View:
    rows = [
        (m.name, m.version, m.unit, m.better, m.formula, m.reference, m.description)
        for m in metrics
    ]
    values = ",\n  ".join(
        "(" + ", ".join(str(v) if isinstance(v, int) else quoted(str(v)) for v in row) + ")"
        for row in rows
    )
    names = [column.name for column in DEFINITION_COLUMNS]
    typed = ", ".join(f'CAST("{c.name}" AS {c.type}) AS "{c.name}"' for c in DEFINITION_COLUMNS)
    empty = f"(SELECT {', '.join(['NULL'] * len(names))} WHERE false)"
    source = f"(VALUES\n  {values})" if rows else empty
    quoted_names = ", ".join(f'"{name}"' for name in names)
    sql = f"SELECT {typed} FROM {source} AS definitions({quoted_names})"
    comment = "What each metric means: unit, direction, formula, reference."
    return View("metric_definitions", comment, _described(DEFINITION_COLUMNS), sql)

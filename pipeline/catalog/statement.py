"""What `sae sql` takes: one statement that only reads."""

from __future__ import annotations

import re

from pipeline.errors import UserError

_SPACE = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_EXPLAIN = re.compile(rf"{_SPACE}explain\b(.*)", re.IGNORECASE | re.DOTALL)
_ANALYZE = re.compile(rf"{_SPACE}analyze\b(.*)", re.IGNORECASE | re.DOTALL)
_OPTION = rf"{_SPACE}(?:analyze|format{_SPACE}\w+){_SPACE}"
_OPTIONS = re.compile(rf"{_SPACE}(\({_OPTION}(?:,{_OPTION})*\))(.*)", re.IGNORECASE | re.DOTALL)


class SqlStatementError(UserError):
    """SQL that is not one statement that only reads."""


def read_only(sql: str) -> str:
    """The statement to run; raises SqlStatementError for anything that is not a SELECT or EXPLAIN.

    EXPLAIN ANALYZE runs what it explains, so it is put together anew around the checked inside,
    with its ANALYZE or its options (`EXPLAIN (ANALYZE, FORMAT json) SELECT ...`) as they were.
    """
    import duckdb

    kind, text = _single(sql)
    if kind == duckdb.StatementType.SELECT:
        return text
    if kind != duckdb.StatementType.EXPLAIN:
        raise SqlStatementError(
            f"A statement of kind {kind.name} was given. `sae sql` only reads: SELECT, WITH, "
            "FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, and EXPLAIN of these. To keep results, use "
            "--format parquet, csv or json with --output."
        )
    how, inside = _explained(_EXPLAIN.fullmatch(text)[1])
    inner_kind, inner = _single(inside)
    if inner_kind != duckdb.StatementType.SELECT:
        raise SqlStatementError(
            f"EXPLAIN of a statement of kind {inner_kind.name} was given. `sae sql` explains what "
            "it would run: a single SELECT. Write EXPLAIN SELECT ..., or EXPLAIN ANALYZE SELECT ..."
        )
    return f"EXPLAIN {how} {inner}"


def _explained(text: str) -> tuple[str, str]:
    """What stands behind EXPLAIN: ANALYZE or options in brackets or nothing, and the statement."""
    options = _OPTIONS.fullmatch(text)
    if options:
        return options[1], options[2]
    analyze = _ANALYZE.fullmatch(text)
    return ("ANALYZE", analyze[1]) if analyze else ("", text)


def _single(sql: str) -> tuple[object, str]:
    import duckdb

    try:
        found = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise SqlStatementError(
            f"{error}\n`sae sql` takes one SELECT (or FROM, WITH, DESCRIBE, SHOW, SUMMARIZE, "
            'EXPLAIN) in DuckDB\'s SQL, such as "from evaluations". More are in docs/sql.md.'
        ) from error
    if len(found) != 1:
        given = f"{len(found)} statements were" if found else "no statement was"
        raise SqlStatementError(f"{given} given; `sae sql` takes one. Give a single SELECT.")
    return found[0].type, found[0].query

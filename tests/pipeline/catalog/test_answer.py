from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.catalog import answer

ROWS = pa.table({"name": ["a", None], "value": [0.123456789, float("nan")], "n": [1, 20000]})


def test_a_table_aligns_numbers_to_the_right() -> None:
    lines = answer.render(ROWS, "table").decode().splitlines()
    assert lines == [
        "name   value      n",
        "----  ------  -----",
        "a     0.1235      1",
        "         nan  20000",
        "(2 rows)",
    ]


def test_a_table_shows_the_first_rows_and_counts_all() -> None:
    many = pa.table({"n": list(range(answer.MOST_ROWS + 5))})
    lines = answer.render(many, "table").decode().splitlines()
    assert len(lines) == answer.MOST_ROWS + 3
    assert lines[-1] == f"({answer.MOST_ROWS + 5} rows)"


def test_a_row_of_more_columns_than_a_screen_holds_is_shown_as_lines() -> None:
    wide = pa.table({f"column_{n}": [n / 4, None] for n in range(60)})
    lines = answer.render(wide, "table").decode().splitlines()
    assert lines[0] == "-- row 1 of 2"
    assert lines[4] == "column_3   0.75"
    assert lines[61:63] == ["-- row 2 of 2", "column_0"]
    assert (len(lines), lines[-1]) == (2 * 61 + 1, "(2 rows)")


def test_of_many_columns_without_a_row_the_names_are_listed() -> None:
    wide = pa.table({f"column_{n}": pa.array([], pa.float64()) for n in range(60)})
    lines = answer.render(wide, "table").decode().splitlines()
    assert lines == [*wide.column_names, "(0 rows)"]


def test_a_table_shows_a_reason_in_full_and_cuts_what_is_endless() -> None:
    texts = pa.table({"text": ["x" * 140, "y" * 1000]})
    lines = answer.render(texts, "table").decode().splitlines()
    assert lines[2] == "x" * 140
    assert lines[3].endswith("y...")
    assert len(lines[3]) < 200


def test_csv_and_json_hold_every_row_in_full() -> None:
    assert answer.render(ROWS, "csv") == b"name,value,n\na,0.123456789,1\n,nan,20000\n"
    assert json.loads(answer.render(ROWS, "json")) == [
        {"name": "a", "value": 0.123456789, "n": 1},
        {"name": None, "value": None, "n": 20000},
    ]


def test_parquet_round_trips() -> None:
    assert pq.read_table(io.BytesIO(answer.render(ROWS, "parquet"))).schema == ROWS.schema


def test_an_answer_without_rows_still_names_its_columns() -> None:
    empty = ROWS.slice(0, 0)
    assert answer.render(empty, "table").decode().splitlines()[0].split() == ["name", "value", "n"]
    assert answer.render(empty, "csv") == b"name,value,n\n"
    assert json.loads(answer.render(empty, "json")) == []

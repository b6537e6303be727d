"""The rows of an answer as text or bytes: table, csv, json, parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

MOST_ROWS = 200
_WIDEST = 160
_MOST_COLUMNS = 40


def render(rows: pyarrow.Table, style: str) -> bytes:
    """Rows in one of the styles table, csv, json, parquet; csv and json hold every row."""
    makers = {"table": _table, "csv": _csv, "json": _json, "parquet": _parquet}
    return makers[style](rows)


def _table(rows: pyarrow.Table) -> bytes:
    """Aligned columns, numbers to the right; the first MOST_ROWS rows.

    Of more columns than a screen holds, each row is shown as lines of name and value, and an
    answer without rows as the names alone.
    """
    few = rows.slice(0, MOST_ROWS)
    if rows.column_names == ["explain_key", "explain_value"]:
        return "\n".join(few.column("explain_value").to_pylist()).encode() + b"\n"
    if rows.num_columns > _MOST_COLUMNS:
        return _records(few, rows.num_rows)
    columns = [[_cell(value) for value in column.to_pylist()] for column in few.columns]
    names = rows.column_names
    widths = [max(map(len, [name, *cells])) for name, cells in zip(names, columns, strict=True)]
    right = [_is_number(field.type) for field in rows.schema]
    lines = [_line(names, widths, right), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths, right) for row in zip(*columns, strict=True)]
    lines.append(_count(rows.num_rows))
    return ("\n".join(lines) + "\n").encode()


def _records(few: pyarrow.Table, total: int) -> bytes:
    width = max(map(len, few.column_names))
    lines = [] if total else few.column_names
    for number, record in enumerate(few.to_pylist(), start=1):
        lines.append(f"-- row {number} of {total}")
        lines += [f"{name.ljust(width)}  {_cell(value)}".rstrip() for name, value in record.items()]
    lines.append(_count(total))
    return ("\n".join(lines) + "\n").encode()


def _count(rows: int) -> str:
    return f"({rows} {'row' if rows == 1 else 'rows'})"


def _line(cells: Any, widths: list[int], right: list[bool]) -> str:
    aligned = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(aligned).rstrip()


def _is_number(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _csv(rows: pyarrow.Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    for batch in rows.to_batches():
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return text.getvalue().encode()


def _json(rows: pyarrow.Table) -> bytes:
    """A list of objects; NaN and infinities, which JSON does not know, become null."""
    records = [
        {name: _plain(value) for name, value in record.items()} for record in rows.to_pylist()
    ]
    return (json.dumps(records, indent=2, default=str, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parquet(rows: pyarrow.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()

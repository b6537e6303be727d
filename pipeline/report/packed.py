"""Columns and texts in few bytes: gzip over a small header and typed arrays, as base64.

Layout before gzip: length of the header (uint32), header (JSON, padded with spaces to a multiple
of 4), the arrays one after another, 4 bytes a value, little-endian. The header's `columns` says
[name, "f" or "i", number of values] in order; what else is in it is plain data.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

NO_INDEX = -1


def packed(columns: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> str:
    """Floats become float32 (NaN for what is missing), integers int32."""
    arrays = {name: _four_bytes(values) for name, values in columns.items()}
    listing = [[name, a.dtype.kind, len(a)] for name, a in arrays.items()]
    header = json.dumps({"columns": listing, **texts}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 4)
    whole = struct.pack("<I", len(header)) + header + b"".join(a.tobytes() for a in arrays.values())
    return base64.b64encode(gzip.compress(whole, 6, mtime=0)).decode()


def unpacked(data: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The columns and texts again."""
    whole = gzip.decompress(base64.b64decode(data))
    (length,) = struct.unpack_from("<I", whole)
    header = json.loads(whole[4 : 4 + length])
    columns, place = {}, 4 + length
    for name, kind, count in header.pop("columns"):
        columns[name] = np.frombuffer(whole, f"<{kind}4", count, place)
        place += 4 * count
    return columns, header


def _four_bytes(values: np.ndarray) -> np.ndarray:
    return values.astype("<f4" if values.dtype.kind == "f" else "<i4")

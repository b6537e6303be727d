"""Columns and texts in few bytes: gzip over a small header and typed arrays, as base64.

Layout before gzip: length of the header (uint32), header (JSON, padded with spaces to a multiple
of 4), the arrays one after another, little-endian, each padded to a multiple of 4 bytes. The
header's `columns` says [name, type, number of values] in order, with types f (float32), i (int32),
H (uint16) and B (uint8); what else is in it is plain data.
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
    """Floats become float32 (NaN for what is missing), signed integers int32.

    uint16 and uint8 stay as they are.
    """
    arrays = {name: _small(values) for name, values in columns.items()}
    listing = [[name, a.dtype.char, len(a)] for name, a in arrays.items()]
    header = json.dumps({"columns": listing, **texts}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 4)
    data = [a.tobytes() + b"\0" * (-a.nbytes % 4) for a in arrays.values()]
    whole = struct.pack("<I", len(header)) + header + b"".join(data)
    return base64.b64encode(gzip.compress(whole, 6, mtime=0)).decode()


def unpacked(data: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The columns and texts again."""
    whole = gzip.decompress(base64.b64decode(data))
    (length,) = struct.unpack_from("<I", whole)
    header = json.loads(whole[4 : 4 + length])
    columns, place = {}, 4 + length
    for name, kind, count in header.pop("columns"):
        columns[name] = np.frombuffer(whole, np.dtype(kind).newbyteorder("<"), count, place)
        place += -(-columns[name].nbytes // 4) * 4
    return columns, header


def _small(values: np.ndarray) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values.astype(values.dtype.newbyteorder("<"))
    return values.astype("<f4" if values.dtype.kind == "f" else "<i4")

"""Content hashes: equal content gives an equal hash, on every machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def content_hash(value: Any) -> str:
    """The sha256 (64 hex digits) of a JSON-able value in canonical form.

    Raises TypeError for values that JSON does not know: what enters a hash must be plain data.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def short(full_hash: str) -> str:
    """The first 8 hex digits: what folders and tables show."""
    return full_hash[:8]


def file_hash(path: Path) -> str:
    """The sha256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

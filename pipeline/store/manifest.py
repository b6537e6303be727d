"""What a store says about itself: which shards are complete, with rows, bytes and checksums.

A missing shard reads as zeros in zarr. These files, written last, decide what is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline import atomic
from pipeline.errors import StoreError

FORMAT = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Shard(_Frozen):
    """One shard file: rows, bytes, checksum; `masked` rows are left out of batches."""

    rows: int
    n_bytes: int
    checksum: str
    masked: int = 0


class StoredArray(_Frozen):
    """A zarr array (rows, width), or (rows,) where `width` is None, in shards."""

    name: str
    rows: int
    width: int | None
    dtype: str
    shard_rows: int
    chunk_rows: int
    shards: tuple[Shard, ...]


class StoreManifest(_Frozen):
    """What all sites of a store share: the settings, and where each row comes from.

    `batch_rows` is what the store was begun with; resuming, mending and later sites use the same,
    so that equal rows come out with equal bytes.
    """

    format: int = FORMAT
    store_hash: str
    model: str
    weights: str
    corpus_hash: str
    model_hash: str
    n_rows: int
    context: int
    batch_rows: int
    shuffle: str
    harvest: dict[str, Any]
    origin: StoredArray


class CalibrationManifest(_Frozen):
    """What the calibration split said of one site, before its train rows were read.

    `largest` finite |x|; rows with ‖x‖ > `max_norm` are masked as high-norm (None: no limit);
    n_* count rows of the calibration split.
    """

    format: int = FORMAT
    site: str
    width: int
    dtype: str
    largest: float
    max_norm: float | None
    n_nonfinite: int
    n_high_norm: int
    statistics_sha256: str
    array: StoredArray


class SiteManifest(_Frozen):
    """A complete site; it is written last, and a site without it is not there."""

    format: int = FORMAT
    source: str
    source_hash: str
    store_hash: str
    calibration: CalibrationManifest
    train: StoredArray
    mask: StoredArray
    n_nonfinite: int
    n_high_norm: int
    tokens_run: int
    seconds: float

    @property
    def masked_share(self) -> float:
        """The share of train rows left out of batches."""
        return (self.n_nonfinite + self.n_high_norm) / self.train.rows


_Manifest = TypeVar("_Manifest", StoreManifest, CalibrationManifest, SiteManifest)


def read_manifest(kind: type[_Manifest], path: Path) -> _Manifest | None:
    """The manifest at `path`, None where there is none.

    Raises StoreError for a newer format, and for a file that cannot be read.
    """
    try:
        value = json.loads(path.read_text())
        written = int(value["format"])
        if written > FORMAT:
            raise StoreError(
                f"{path} has format {written}; this installation reads formats up to {FORMAT}. "
                "Update this installation, or use another workspace."
            )
        return kind.model_validate(value)
    except FileNotFoundError:
        return None
    except (
        KeyError,
        TypeError,
        json.JSONDecodeError,
        UnicodeDecodeError,
        ValidationError,
    ) as error:
        raise StoreError(
            f"{path} cannot be read as a manifest ({type(error).__name__}). "
            f"Remove the folder {path.parents[1]}; the next run harvests it again."
        ) from error


def write_manifest(path: Path, manifest: BaseModel) -> None:
    """Writes a manifest, whole or not at all."""
    atomic.write_json(path, manifest.model_dump(mode="json"))

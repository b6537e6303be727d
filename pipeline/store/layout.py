"""Where the parts of an activation store lie.

activations/<model>.<weights>/<hash8>/
  store.json                              what all sites share
  store.zarr/origin                       (N,) int64: packed row * context + position
  store.zarr/train/<site>                 (N, d), shuffled
  store.zarr/mask/<site>                  (N,) uint8: 0 ok, 1 non-finite, 2 high norm
  store.zarr/calibration/<site>           (n, d)
  manifests/<site>.calibration.json, .statistics.safetensors, .probes.json, .json
  manifests/<site>.gaussian.safetensors   mean and root of the covariance, for weights `gaussian`
  manifests/<site>.remote.json            that the site lies at the remote place, too
  manifests/<site>.sending.json           how far it is sent
  parts/<site>/<start>-<stop>.bin         rows of an unfinished harvest
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.hashing import short
from pipeline.remote.place import Remote, remote_of
from pipeline.store.manifest import StoredArray
from pipeline.study.names import Site, Weights
from pipeline.workspace import Workspace

_CHUNK_ROWS = 4096
_SMALLEST_CHUNK = 256


@dataclass(frozen=True)
class StoreFolder:
    """The paths of one store, and the remote place it may lie at as well."""

    root: Path
    remote: Remote | None = None

    @classmethod
    def of(
        cls, workspace: Workspace, model: str, weights: Weights, *, store_hash: str
    ) -> StoreFolder:
        """The store of one model, weights variant and harvest in a workspace."""
        root = workspace.activations / f"{model}.{weights}" / short(store_hash)
        return cls(root, remote_of(workspace))

    @property
    def manifest(self) -> Path:
        """What all sites share."""
        return self.root / "store.json"

    @property
    def zarr(self) -> Path:
        """The zarr v3 group."""
        return self.root / "store.zarr"

    @property
    def shuffle_quality(self) -> Path:
        """The measured uniformity of the rows' order."""
        return self.root / "shuffle_quality.json"

    def site_manifest(self, site: Site) -> Path:
        """A site's manifest, there when the site is complete."""
        return self.root / "manifests" / f"{site}.json"

    def calibration_manifest(self, site: Site) -> Path:
        """What the calibration split said of a site."""
        return self.root / "manifests" / f"{site}.calibration.json"

    def statistics(self, site: Site) -> Path:
        """The tensors of a site's statistics."""
        return self.root / "manifests" / f"{site}.statistics.safetensors"

    def gaussian(self, site: Site) -> Path:
        """What a site's activations are drawn from; in stores of weights `gaussian`."""
        return self.root / "manifests" / f"{site}.gaussian.safetensors"

    def probes(self, site: Site) -> Path:
        """Whether a few of a site's rows lie where they should."""
        return self.root / "manifests" / f"{site}.probes.json"

    def recorded(self, site: Site) -> Path:
        """There when a site's rows are in the tables."""
        return self.root / "manifests" / f"{site}.recorded.json"

    def kept(self, site: Site) -> Path:
        """There when the site lies at the remote place, with which one."""
        return self.root / "manifests" / f"{site}.remote.json"

    def sending(self, site: Site) -> Path:
        """How far a site is sent to the remote place."""
        return self.root / "manifests" / f"{site}.sending.json"

    def parts(self, site: Site) -> Path:
        """Rows of a site whose harvest is not finished."""
        return self.root / "parts" / str(site)

    def array(self, name: str) -> Path:
        """A zarr array, such as `train/resid_post.3`."""
        return self.zarr / name

    def shard(self, array: StoredArray, number: int) -> Path:
        """The file of one shard, where zarr looks for it."""
        chunks = self.array(array.name) / "c"
        return chunks / str(number) if array.width is None else chunks / str(number) / "0"


def chunk_rows(shard_rows: int) -> int:
    """Rows of a shard's inner chunk: the largest divisor of `shard_rows` up to 4096.

    A shard whose divisors are all small is one chunk.
    """
    if shard_rows <= _CHUNK_ROWS:
        return shard_rows
    best = max(size for size in range(1, _CHUNK_ROWS + 1) if shard_rows % size == 0)
    return best if best >= _SMALLEST_CHUNK else shard_rows

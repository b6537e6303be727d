"""A corpus and a forward whose rows say which token they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.harvest.fill import fill_store
from pipeline.harvest.forward import Take, TextRows
from pipeline.harvest.identity import StoreIdentity
from pipeline.harvest.task import StoreTask, prepare_store
from pipeline.progress import Progress, silent
from pipeline.store.activation_store import ActivationStore
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import SiteManifest, read_manifest
from pipeline.study.config import HarvestConfig
from pipeline.study.names import Site, Weights

SITES = [Site("resid_post", 0), Site("resid_post", 1), Site("mlp_act", 1)]
WIDTHS = {SITES[0]: 8, SITES[1]: 8, SITES[2]: 12}
SPECIAL = 0


@dataclass
class FakeCorpus:
    """Packed rows whose token ids count up, 0 where the token is special."""

    rows: Mapping[str, int] = field(default_factory=lambda: {"train": 100, "calibration": 9})
    context: int = 32
    special_share: float = 0.03
    seed: int = 0
    hash: str = "c" * 64
    path: Path = Path("corpus")
    vocab_size: int = 1 << 30
    special_ids: frozenset[int] = frozenset({SPECIAL})

    def __post_init__(self) -> None:
        self._splits = {}
        generator = np.random.default_rng(self.seed)
        for number, (split, rows) in enumerate(self.rows.items()):
            size = rows * self.context
            ids = np.arange(size, dtype=np.int32) + 1 + 1_000_000 * number
            starts = generator.random(size) < self.special_share
            ids[starts] = SPECIAL
            documents = np.cumsum(starts).astype(np.int32) + 10 * number
            shape = (rows, self.context)
            self._splits[split] = ids.reshape(shape), documents.reshape(shape)

    def n_rows(self, split: str) -> int:
        return self.rows[split]

    def n_tokens(self, split: str) -> int:
        return int((self._splits[split][0] != SPECIAL).sum())

    def tokens(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        ids, documents = self._splits[split]
        return ids[start:stop].copy(), documents[start:stop].copy()


class FakeForward:
    """Activations that hold the token id in two exact numbers, and noise keyed by id and site."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, tuple[Site, ...]]] = []
        self.fail_at: int | None = None

    def __call__(self, text: TextRows, sites: Sequence[Site], take: Take) -> None:
        if self.fail_at is not None and len(self.calls) >= self.fail_at:
            raise InterruptedError("planted")
        self.calls.append((text.ids.size, tuple(sites)))
        for site in sites:
            given = self.values(torch.from_numpy(text.ids.astype(np.int64)), site).contiguous()
            take(site, given)
            given.fill_(torch.nan)  # what was given holds until `take` returns, no longer

    def values(self, ids: torch.Tensor, site: Site) -> torch.Tensor:
        width = WIDTHS[site]
        phase = torch.arange(width) + 17 * SITES.index(site)
        x = torch.sin(ids[..., None].double() * (1.37 + phase.double())).float() * 40 + 2
        x[..., 0] = (ids % 1024).float()
        x[..., 1] = (ids // 1024).float()
        return x


def token_ids(x: torch.Tensor) -> np.ndarray:
    """The token ids that rows hold."""
    return (x[:, 1].double() * 1024 + x[:, 0].double()).long().numpy()


def settings(**changes: Any) -> HarvestConfig:
    """Small shards, small memory."""
    values = {"shard_rows": 512, "calibration_tokens": 200, "memory_mb": 16} | changes
    return HarvestConfig.model_construct(**{**HarvestConfig().model_dump(), **values})


def task_in(
    folder: Path,
    corpus: FakeCorpus | None = None,
    *,
    batch_rows: int = 4,
    weights: str = "trained",
    **changes: Any,
) -> StoreTask:
    """A store of a fake corpus, ready for sites."""
    identity = StoreIdentity("s" * 64, "fake", Weights.parse(weights), "c" * 64, "m" * 64)
    return prepare_store(
        StoreFolder(folder),
        identity,
        corpus or FakeCorpus(),
        settings=settings(**changes),
        batch_rows=batch_rows,
    )


def fill(
    task: StoreTask,
    sites: Sequence[Site] = tuple(SITES),
    forward: Any = None,
    *,
    part_seconds: float = 1e9,
    report: Any = silent,
) -> FakeForward:
    """Harvests sites with a fake forward, and gives the forward back."""
    forward = forward or FakeForward()
    hashes = {site: f"hash of {site}" for site in sites}
    fill_store(task, forward, sites, report, source_hash=hashes, part_seconds=part_seconds)
    return forward


def opened(task: StoreTask, site: Site) -> ActivationStore:
    """The complete store of a site."""
    manifest = read_manifest(SiteManifest, task.folder.site_manifest(site))
    assert manifest is not None
    return ActivationStore(task.folder, task.source(site), manifest)


def contents(folder: Path, *names: str) -> dict[str, str]:
    """Path -> sha256 of every file of a store's arrays and manifests, without timings."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        timed = name.startswith("manifests") and name.endswith((".0.json", ".1.json"))
        if path.is_file() and not timed and (not names or any(n in name for n in names)):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class Reports:
    """Collects progress."""

    def __init__(self) -> None:
        self.all: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        self.all.append(progress)

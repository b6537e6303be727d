"""Harvesting sources into their store; what is there already is reused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.errors import StoreError
from pipeline.harvest.identity import VERSION, StoreIdentity, store_identity
from pipeline.launch.config import LaunchConfig
from pipeline.progress import Progress, Report, silent
from pipeline.remote.where_named import bring_sources, keep_source
from pipeline.store.layout import StoreFolder
from pipeline.store.manifest import SiteManifest, StoreManifest, read_manifest
from pipeline.study.config import ModelConfig
from pipeline.study.names import Site, Source, Weights
from pipeline.study.variants import GAUSSIAN
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus
    from pipeline.harvest.forward import Forward
    from pipeline.harvest.shuffle_quality import ShuffleStatistic
    from pipeline.harvest.task import StoreTask
    from sae_core.statistics import SourceStatistics

__all__ = ["VERSION", "HarvestResult", "harvest", "harvest_state", "source_hash"]

State = Literal["done", "partial", "missing"]


@dataclass(frozen=True)
class HarvestResult:
    """One source in its store; `bytes` on disk, `tokens_per_second` of the model's pass."""

    source: Source
    source_hash: str
    reused: bool
    n_rows: int
    n_nonfinite: int
    n_high_norm: int
    dtype: str
    seconds: float
    tokens_per_second: float
    store_path: Path
    statistics: SourceStatistics
    shuffle_quality: list[ShuffleStatistic]
    bytes: int


def harvest(
    workspace: Workspace,
    model_name: str,
    config: ModelConfig,
    weights: Weights,
    sites: Sequence[Site],
    *,
    report: Report = silent,
    launch: LaunchConfig | None = None,
) -> list[HarvestResult]:
    """The sources of these sites, harvested in one pass of the language model where missing.

    An interrupted harvest resumes at its last complete part. A new source gets its rows in the
    tables `sources` and `shuffle_quality`. `launch` spreads the pass over processes, whose store is
    the same, byte for byte; none: this process. Only one process at a time uses the device; others
    wait and then find the work done.
    Raises SiteError for a site the model lacks, StudyError for a token budget beyond the corpus,
    StoreError where more rows are masked than allowed, RemoteError, DiskFullError.
    """
    from pipeline.corpus.pack import pack_corpus
    from pipeline.locks import device_lock

    corpus = pack_corpus(workspace, model_name, config, report=report)
    identity = store_identity(model_name, config, weights, corpus=corpus)
    folder = _folder(workspace, identity)
    bring_sources(folder, sites)
    missing = [site for site in dict.fromkeys(sites) if _complete(folder, site) is None]
    owner = f"harvest of {model_name}.{weights}"

    def waiting(holder: str) -> None:
        report(Progress("waiting", 0, 1, "device", note=f"the device is held by {holder}"))

    if missing:
        with device_lock(workspace, owner, on_wait=waiting):
            # Another process may have made them while this one waited.
            missing = [site for site in missing if _complete(folder, site) is None]
            if missing:
                where = launch or LaunchConfig()
                _make(
                    workspace, folder, identity, config, corpus, where, sites=missing, report=report
                )
    results = [
        _result(folder, Source(model_name, weights, site), config, reused=site not in missing)
        for site in dict.fromkeys(sites)
    ]
    for result in results:
        _record(workspace, folder, result)
        keep_source(folder, result.source.site, report)
    return results


def harvest_state(
    workspace: Workspace, model_name: str, config: ModelConfig, source: Source
) -> State:
    """Whether a source is there; cheap, without torch.

    'partial': begun, or stored with more masked rows than `max_masked_share` allows.
    """
    from pipeline.corpus.pack import open_corpus

    corpus = open_corpus(workspace, model_name, config)
    if corpus is None:
        return "missing"
    folder = _folder(workspace, store_identity(model_name, config, source.weights, corpus=corpus))
    bring_sources(folder, [source.site])
    manifest = _complete(folder, source.site)
    if manifest is not None:
        return "done" if manifest.masked_share <= config.harvest.max_masked_share else "partial"
    begun = folder.calibration_manifest(source.site).exists() or folder.parts(source.site).exists()
    return "partial" if begun else "missing"


def source_hash(workspace: Workspace, model_name: str, config: ModelConfig, source: Source) -> str:
    """The content hash of a source; raises StoreError where its corpus is not packed yet."""
    from pipeline.corpus.pack import open_corpus

    corpus = open_corpus(workspace, model_name, config)
    if corpus is None:
        raise StoreError(
            f"The corpus of model {model_name!r} is not packed yet, so {source} has no hash. "
            "Run the study, or materialize the corpus, first."
        )
    identity = store_identity(model_name, config, source.weights, corpus=corpus)
    return identity.source_hash(source.site)


def open_task(
    workspace: Workspace, model_name: str, config: ModelConfig, weights: Weights
) -> StoreTask:
    """The store of a packed corpus, for mending; raises StoreError where there is none."""
    from pipeline.corpus.pack import open_corpus

    corpus = open_corpus(workspace, model_name, config)
    if corpus is None:
        raise StoreError(
            f"The corpus of model {model_name!r} is not packed, or its text has changed. "
            "Harvest again instead of mending."
        )
    identity = store_identity(model_name, config, weights, corpus=corpus)
    return _task(_folder(workspace, identity), identity, config, corpus)


def _folder(workspace: Workspace, identity: StoreIdentity) -> StoreFolder:
    return StoreFolder.of(
        workspace, identity.model, identity.weights, store_hash=identity.store_hash
    )


def _complete(folder: StoreFolder, site: Site) -> SiteManifest | None:
    return read_manifest(SiteManifest, folder.site_manifest(site))


def _task(
    folder: StoreFolder, identity: StoreIdentity, config: ModelConfig, corpus: PackedCorpus
) -> StoreTask:
    from pipeline.corpus.shuffled import text_as_read
    from pipeline.harvest.task import prepare_store

    text = text_as_read(corpus, identity.weights)
    return prepare_store(
        folder, identity, text, settings=config.harvest, batch_rows=config.batch_rows
    )


def _make(
    workspace: Workspace,
    folder: StoreFolder,
    identity: StoreIdentity,
    config: ModelConfig,
    corpus: PackedCorpus,
    launch: LaunchConfig,
    *,
    sites: Sequence[Site],
    report: Report,
) -> None:
    from pipeline.harvest.fill import fill_store
    from pipeline.harvest.variant_forward import variant_forward
    from pipeline.language_model.load import load_language_model

    task = _task(folder, identity, config, corpus)
    lm = load_language_model(config, identity.weights)
    for site in sites:
        lm.layout.check(site)
    hashes = {site: identity.source_hash(site) for site in sites}
    forward = variant_forward(task, lm, sites, report)
    if launch.engine != "local" and identity.weights.variant != GAUSSIAN:
        _make_parts(workspace, task, forward, config, launch, sites=sites, report=report)
    fill_store(task, forward, sites, report, source_hash=hashes)


def _make_parts(
    workspace: Workspace,
    task: StoreTask,
    forward: Forward,
    config: ModelConfig,
    launch: LaunchConfig,
    *,
    sites: Sequence[Site],
    report: Report,
) -> None:
    """Lets other processes write the parts that are missing; filling the store finds them there."""
    from pipeline.harvest.fill import calibrated
    from pipeline.harvest.read_rows import open_site_rows
    from pipeline.harvest.spans import Span, cut, make_span
    from pipeline.launch.spread import n_workers, spread

    calibrations = calibrated(task, forward, sites, report)
    begun = {rows.kept for rows in open_site_rows(task, calibrations)}
    if len(begun) > 1:
        return  # sites that stand at different rows are brought together by one process
    name, weights = task.manifest.model, Weights.parse(task.manifest.weights)
    workers = n_workers(launch)
    spans = [
        Span(workspace, name, config, weights, tuple(sites), start, stop)
        for start, stop in cut(task, calibrations, begin=begun.pop(), workers=workers)
    ]
    if spans:
        spread(make_span, spans, launch, what="harvest", report=report)


def _result(
    folder: StoreFolder, source: Source, config: ModelConfig, *, reused: bool
) -> HarvestResult:
    from pipeline.harvest.fill import read_quality
    from pipeline.harvest.masked_share import check_masked
    from pipeline.store.activation_store import ActivationStore

    manifest = _complete(folder, source.site)
    assert manifest is not None
    check_masked(
        source,
        config.harvest,
        split="train",
        nonfinite=manifest.n_nonfinite,
        high_norm=manifest.n_high_norm,
        rows=manifest.train.rows,
    )
    arrays = (manifest.train, manifest.mask, manifest.calibration.array)
    return HarvestResult(
        source=source,
        source_hash=manifest.source_hash,
        reused=reused,
        n_rows=manifest.train.rows,
        n_nonfinite=manifest.n_nonfinite,
        n_high_norm=manifest.n_high_norm,
        dtype=manifest.train.dtype,
        seconds=manifest.seconds,
        tokens_per_second=manifest.tokens_run / max(manifest.seconds, 1e-9),
        store_path=folder.zarr,
        statistics=ActivationStore(folder, source, manifest).statistics,
        shuffle_quality=read_quality(folder, source.site),
        bytes=sum(shard.n_bytes for array in arrays for shard in array.shards),
    )


def _record(workspace: Workspace, folder: StoreFolder, result: HarvestResult) -> None:
    """Puts a source's rows in the tables, once."""
    from pipeline import atomic
    from pipeline.catalog.write import new_run_id, write_run
    from pipeline.harvest.table_rows import quality_rows, source_row

    marker, store = (
        folder.recorded(result.source.site),
        read_manifest(StoreManifest, folder.manifest),
    )
    if marker.exists():
        return
    assert store is not None
    run = new_run_id("harvest")
    rows = {
        "sources": [source_row(workspace, result, store)],
        "shuffle_quality": quality_rows(result, store.shuffle),
    }
    write_run(workspace, run, rows, kind="harvest")
    atomic.write_json(marker, {"run": run})

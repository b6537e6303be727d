"""A harvested source as rows of the tables `sources` and `shuffle_quality`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.store.manifest import StoreManifest
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.harvest.run import HarvestResult


def source_row(
    workspace: Workspace, result: HarvestResult, store: StoreManifest
) -> dict[str, object]:
    """The row of `sources`."""
    source = result.source
    return {
        "source": str(source),
        "source_hash": result.source_hash,
        "model": source.model,
        "weights": str(source.weights),
        "weights_seed": source.weights.seed,
        "site": str(source.site),
        "layer": source.site.layer,
        "kind": source.site.kind,
        "width": result.statistics.width,
        "n_rows": result.n_rows,
        "n_nonfinite": result.n_nonfinite,
        "n_high_norm": result.n_high_norm,
        "dtype": result.dtype,
        "shuffle": store.shuffle,
        "store_path": workspace.relative(result.store_path),
        "corpus_hash": store.corpus_hash,
        "model_hash": store.model_hash,
        "mean_norm": result.statistics.mean_norm,
        "total_variance": result.statistics.total_variance,
        "tokens_per_second": result.tokens_per_second,
        "seconds": result.seconds,
    }


def quality_rows(result: HarvestResult, shuffle: str) -> list[dict[str, object]]:
    """The rows of `shuffle_quality`."""
    return [
        {
            "source": str(result.source),
            "source_hash": result.source_hash,
            "shuffle": shuffle,
            "statistic": statistic.statistic,
            "value": statistic.value,
            "expected": statistic.expected,
            "z": statistic.z,
            "passed": statistic.passed,
        }
        for statistic in result.shuffle_quality
    ]

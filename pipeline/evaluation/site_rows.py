"""Rows of SAEs that write several sites: numbers of each site, and where each latent lives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.rows import Row, metric_rows
from pipeline.evaluation.sites_sweep import PER_SITE, of_site
from pipeline.evaluation.tables import DocumentTables
from sae_core.bootstrap import resample_counts
from sae_core.metrics import metrics
from sae_core.metrics.definition import Measured
from sae_core.metrics.token_metric import TokenMetric, measure

if TYPE_CHECKING:
    import pyarrow


def site_rows(
    measured: Iterable[tuple[Evaluation, DocumentTables]],
) -> dict[str, list[Row] | pyarrow.Table]:
    """Rows of `site_metrics` and `latent_sites`; none for SAEs of one written site."""
    import pyarrow as pa

    from pipeline.load_sae import load

    numbers: list[Row] = []
    latents: list[pyarrow.Table] = []
    for evaluation, found in measured:
        if not evaluation.run.further:
            continue
        sae = load(evaluation.folder)
        if len(sae.writes) > 1:
            all_sites = [evaluation.cell.source, *(source for source, _ in evaluation.run.further)]
            sites = [str(all_sites[i].site) for i in sae.writes]
            for site in sites:
                rows = metric_rows(evaluation, _numbers(evaluation, found, site))
                numbers += [{**row, "site": site} for row in rows]
            norms = sae.norms_of_sites().detach().double().numpy()
            latents += [_latents(evaluation, site, norms, i) for i, site in enumerate(sites)]
    return {
        "site_metrics": numbers,
        "latent_sites": pa.concat_tables(latents) if latents else [],
    }


def _numbers(evaluation: Evaluation, found: DocumentTables, site: str) -> dict[str, Measured]:
    settings = evaluation.cell.evaluation
    counts = resample_counts(len(found.documents), settings.bootstrap, seed=settings.bootstrap_seed)
    numbers: dict[str, Measured] = {}
    for name, metric in metrics().items():
        if name in PER_SITE and isinstance(metric, TokenMetric):
            table = found.tables[of_site(name, site)]
            numbers |= measure(metric, table, counts, evaluation.setting)
    return numbers


def _latents(evaluation: Evaluation, site: str, norms: np.ndarray, place: int) -> pyarrow.Table:
    import pyarrow as pa

    f, own, whole = len(norms), norms[:, place], norms.sum(1)
    share = np.divide(own, whole, out=np.zeros(f), where=whole > 0)
    texts = (evaluation.sae, evaluation.sae_hash, evaluation.evaluation_hash, site)
    names = ("sae", "sae_hash", "evaluation_hash", "site")
    repeated = {n: pa.array([t] * f, pa.string()) for n, t in zip(names, texts, strict=True)}
    return pa.table(
        {
            **repeated,
            "latent": pa.array(np.arange(f), pa.int64()),
            "decoder_norm": pa.array(own, pa.float64()),
            "relative_decoder_norm": pa.array(share, pa.float64(), mask=whole == 0),
        }
    )

"""Activations drawn from a Gaussian with the trained site's mean and covariance.

Mean and covariance are those of the calibration rows that the trained source keeps (as stored,
without the masked ones). What is drawn at a token depends on (weights seed, site, split, packed
row, position) alone: row i of the store still belongs to the token of row i of every other variant,
and it does not matter where a harvest resumes. Sites are drawn independently of each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.harvest.calibrate import (
    calibration_rows,
    groups_of_sites,
    read_calibration,
    stored_rows,
)
from pipeline.harvest.forward import Forward, Take, TextRows
from pipeline.harvest.task import StoreTask
from pipeline.keyed_draws import generator
from pipeline.progress import Report
from pipeline.store.layout import StoreFolder
from pipeline.study.names import Site, Source, Weights
from pipeline.study.variants import GAUSSIAN
from sae_core.gaussian import Gaussian, matched_gaussian

_BLOCK = 8192

Drawn = Callable[[str, Sequence[int]], torch.Tensor]
"""A split and numbers of its packed rows -> activations (b, t, d) float32, on the CPU."""


def gaussian_forward(
    task: StoreTask, trained: Forward, sites: Sequence[Site], report: Report
) -> Forward:
    """The forward of a `gaussian` store: what it gives at each site of a row is drawn.

    Sites that were not matched yet are matched first: the trained model reads the calibration
    split. Raises StoreError where too many of its rows are masked.
    """
    missing = [site for site in sites if not task.folder.gaussian(site).exists()]
    rows = calibration_rows(task)
    for group in groups_of_sites(task, trained, missing, rows) if missing else ():
        for site, x in read_calibration(task, trained, group, rows, report).items():
            usable = stored_rows(task, site, x).usable
            write_gaussian(task.folder, site, matched_gaussian(usable.split(_BLOCK)))
    weights, context = Weights.parse(task.manifest.weights), task.rows.context
    draws = {
        site: drawn_rows(read_gaussian(task.folder, site), weights, site, context=context)
        for site in sites
    }

    def forward(text: TextRows, sites: Sequence[Site], take: Take) -> None:
        numbers = range(text.start, text.start + len(text.ids))
        for site in sites:
            take(site, draws[site](text.split, numbers))

    return forward


def has_gaussian(task: StoreTask, site: Site) -> bool:
    """Whether a site's Gaussian can be read, where the store's weights ask for one."""
    if Weights.parse(task.manifest.weights).variant != GAUSSIAN:
        return True
    try:
        read_gaussian(task.folder, site)
    except StoreError:
        return False
    return True


def drawn_activations(folder: StoreFolder, source: Source, *, context: int) -> Drawn:
    """What is drawn for a harvested `gaussian` source; raises StoreError without its Gaussian."""
    gaussian = read_gaussian(folder, source.site)
    return drawn_rows(gaussian, source.weights, source.site, context=context)


def drawn_rows(gaussian: Gaussian, weights: Weights, site: Site, *, context: int) -> Drawn:
    """Rows of a Gaussian, keyed by weights seed, site, split and packed row."""
    width = len(gaussian.mean)

    def draw(split: str, packed_rows: Sequence[int]) -> torch.Tensor:
        found = torch.empty(len(packed_rows), context, width)
        for i, row in enumerate(packed_rows):
            # One product per packed row: its bits do not depend on the rows beside it.
            keyed = generator("gaussian", weights.seed or 0, str(site), split, int(row))
            standard = torch.from_numpy(keyed.standard_normal((context, width)))
            found[i] = gaussian.rows(standard).float()
        return found

    return draw


def write_gaussian(folder: StoreFolder, site: Site, gaussian: Gaussian) -> None:
    """Puts a site's Gaussian into its store, whole or not at all."""
    tensors = {"mean": gaussian.mean.contiguous(), "root": gaussian.root.contiguous()}
    atomic.write_bytes(folder.gaussian(site), save(tensors, {"sha256": _digest(gaussian)}))


def read_gaussian(folder: StoreFolder, site: Site) -> Gaussian:
    """A site's Gaussian; raises StoreError where it is missing or damaged."""
    path = folder.gaussian(site)
    try:
        data = path.read_bytes()
        gaussian = Gaussian(**load(data))
        if _digest(gaussian).encode() not in data:
            raise ValueError("its numbers are not those that were written")
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise StoreError(
            f"{path}, which the activations are drawn from, cannot be read ({error}). Mend the "
            "source with `python -m pipeline.harvest.mend_command`; where its harvest is "
            "unfinished, remove the file and run the study: it is matched again."
        ) from error
    return gaussian


def _digest(gaussian: Gaussian) -> str:
    numbers = torch.cat([gaussian.mean[None], gaussian.root]).numpy()
    return hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()

"""The forward that fills a store under its weights variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.harvest.forward import Forward, model_forward
from pipeline.progress import Report
from pipeline.study.names import Site, Weights
from pipeline.study.variants import GAUSSIAN

if TYPE_CHECKING:
    from pipeline.harvest.task import StoreTask
    from pipeline.language_model.load import LanguageModel


def variant_forward(
    task: StoreTask, lm: LanguageModel, sites: Sequence[Site], report: Report
) -> Forward:
    """What a model under its weights gives at the sites; drawn where the variant says so."""
    forward = model_forward(lm)
    if Weights.parse(task.manifest.weights).variant != GAUSSIAN:
        return forward
    from pipeline.harvest.gaussian import gaussian_forward

    return gaussian_forward(task, forward, sites, report)

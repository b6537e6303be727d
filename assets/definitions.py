"""All definitions of the code location: `[tool.dagster] module_name` points here."""

from __future__ import annotations

import dagster as dg

from assets.activations import activations
from assets.corpus import corpus
from assets.dictionary_matches import dictionary_matches
from assets.evaluation import evaluation
from assets.liveness import dead_runs, run_lock
from assets.random_baselines import random_baselines
from assets.report import report
from assets.sae import sae

defs = dg.Definitions(
    assets=[corpus, activations, sae, evaluation, random_baselines, dictionary_matches, report],
    resources={"run_lock": run_lock},
    sensors=[dead_runs],
    executor=dg.in_process_executor,
)

"""The schema: every table, every column, and what it means.

The comments here are the ones in the database, in docs/schema.md and in error messages.
"""

from __future__ import annotations

from pipeline.catalog.columns import Column, Table, columns
from pipeline.catalog.evaluation_tables import EVALUATION_TABLES
from pipeline.catalog.expert_tables import EXPERT_TABLES
from pipeline.catalog.probe_tables import PROBE_TABLES
from pipeline.catalog.site_tables import SITE_TABLES
from pipeline.catalog.toy_tables import TOY_TABLES

__all__ = ["COMMITS", "RUN", "SHOWS_FROM", "TABLES", "Column", "Table"]

RUN = Column("run", "VARCHAR", "the run that wrote the row; its own row is in commits")

_STUDIES = Table(
    "studies",
    "Studies as they were registered; one row per study and content.",
    columns(
        "study v name of the study",
        "study_hash v content hash of the study",
        "yaml v the study file's text",
        "registered_at t when it was registered (UTC)",
    ),
    ("study", "study_hash"),
)
_SOURCES = Table(
    "sources",
    "Harvested activations: one row per source.",
    columns(
        "source v",
        "source_hash v",
        "model v",
        "weights v",
        "weights_seed b",
        "site v",
        "layer b",
        "kind v kind of the site: resid_pre, resid_post, attn_out, mlp_out, mlp_act",
        "width b",
        "n_rows b token rows stored",
        "n_nonfinite b rows masked for NaN or infinity",
        "n_high_norm b rows masked for a norm far above the median",
        "dtype v storage type",
        "shuffle v how rows were shuffled: global, buffer, sequence, none",
        "store_path v folder of the store, from the workspace's folder",
        "corpus_hash v content hash of the packed corpus",
        "model_hash v hash of the language model's weights",
        "mean_norm d mean norm of an activation on the calibration split",
        "total_variance d mean squared distance from the mean on the calibration split",
        "tokens_per_second d",
        "seconds d",
    ),
    ("source", "source_hash"),
)
_SAES = Table(
    "saes",
    "Trained SAEs: one row per SAE and content hash.",
    columns(
        "sae v",
        "sae_hash v",
        "source v",
        "source_hash v",
        "model v",
        "weights v",
        "weights_seed b",
        "site v",
        "layer b",
        "further_inputs v sites it is trained on besides its own, or the SAE whose dictionary it "
        "reads; NULL for none",
        "recipe v name of the recipe",
        "architecture v architecture of the recipe",
        "seed b seed of initialisation and of every draw inside the SAE",
        "data_seed b seed of the data order",
        "n_latents b f: number of latents",
        "k b active latents per token, where the architecture fixes them",
        "width b",
        "tokens b training tokens seen; NULL for an imported SAE that does not say",
        "epochs d passes over the stored rows",
        "batch_size b rows of one step",
        "config_json v the recipe's full configuration",
        "path v folder of the weights, from the workspace's folder; `load` takes it",
        "commit v",
        "package_version v",
        "seconds d",
        "tokens_per_second d",
        "wait_share d share of the time spent waiting for data",
        "dead_train d share of latents that did not fire within the dead window at the end",
        "status v ok, or diverged",
        "divergence v the step and the term that was first not finite, and the last good "
        "checkpoint; NULL where training did not diverge",
        "trained_on v on what it was trained, in order: 1 process, or such as 2 ranks by tokens; "
        "gradients of ranks are those of 1 process within 1e-5 of the largest",
    ),
    ("sae", "sae_hash"),
)
_TRAINING_CURVE = Table(
    "training_curve",
    "How training went: losses and rates by step.",
    columns(
        "sae v",
        "sae_hash v",
        "step b optimiser step at the end of the interval",
        "tokens b training tokens seen by then",
        "metric v name of the quantity, averaged over the interval",
        "value d its value",
    ),
    ("sae", "sae_hash"),
    is_long=True,
)
_SHUFFLE_QUALITY = Table(
    "shuffle_quality",
    "Whether a store's rows are in uniformly random order.",
    columns(
        "source v",
        "source_hash v",
        "shuffle v how rows were shuffled",
        "statistic v name of the statistic",
        "value d what was measured",
        "expected d what a uniform permutation gives",
        "z d distance in standard deviations",
        "passed o whether it is within bounds",
    ),
    ("source", "source_hash"),
    is_long=True,
)
COMMITS = Table(
    "commits",
    "Finished runs: rows of other tables show only when their run is here.",
    columns(
        "kind v what the run did: harvest, training, evaluation, ...",
        "committed_at t since when the run's rows show (UTC)",
        "package_version v",
        "commit v",
    ),
    ("run",),
)
# Of the file, not of its rows: a compacted record holds rows that were committed long before it.
SHOWS_FROM = Column("shows_from", "TIMESTAMP", "since when this commit record counts (UTC)")

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _STUDIES,
        _SOURCES,
        _SAES,
        _TRAINING_CURVE,
        *EVALUATION_TABLES,
        *PROBE_TABLES,
        *SITE_TABLES,
        *TOY_TABLES,
        *EXPERT_TABLES,
        _SHUFFLE_QUALITY,
        COMMITS,
    )
}

"""The schema: every table, every column, and what it means.

The comments here are the ones in the database, in docs/schema.md and in error messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP"]


@dataclass(frozen=True)
class Column:
    """One column: its name, its DuckDB type and what it holds."""

    name: str
    type: Type
    comment: str


@dataclass(frozen=True)
class Table:
    """One table; `key` are the columns of which views show the newest run only."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


RUN = Column("run", "VARCHAR", "the run that wrote the row; its own row is in commits")

_COMMENTS = {
    "sae": "id of the SAE: <source>/<recipe>.s<seed>",
    "sae_hash": "content hash of the SAE: its config, its inputs and the stages' versions",
    "sae_a": "id of the first SAE",
    "sae_a_hash": "content hash of the first SAE",
    "sae_b": "id of the second SAE",
    "sae_b_hash": "content hash of the second SAE",
    "source": "what the SAE is trained on: <model>.<weights>.<site>",
    "source_hash": "content hash of the source's activations",
    "model": "name of the language model",
    "weights": "weights variant: trained, random@1, ...",
    "weights_seed": "seed of a drawn weights variant; NULL for weights that are not drawn",
    "site": "where activations are read: resid_post.3",
    "layer": "layer of the site, from 0",
    "width": "d: dimensions of one activation",
    "evaluation_hash": "content hash of the evaluation: SAE, held-out text, settings, versions",
    "metric": "name of the metric, explained in metric_definitions",
    "metric_version": "version of the metric's definition",
    "value": "the value; NULL where it cannot be told, with the reason",
    "ci_low": "lower end of the 95 % interval (bootstrap over documents)",
    "ci_high": "upper end of the 95 % interval (bootstrap over documents)",
    "reason": "why a value is NULL, or what to bear in mind",
    "seconds": "wall-clock seconds, waiting for the device left out",
    "tokens_per_second": "rate over `seconds`",
    "package_version": "version of this package",
    "commit": "git commit of the code; NULL outside a clone",
}

_TYPES: dict[str, Type] = {
    "b": "BIGINT",
    "d": "DOUBLE",
    "t": "TIMESTAMP",
    "o": "BOOLEAN",
    "v": "VARCHAR",
}


def _columns(*specs: str) -> tuple[Column, ...]:
    """Columns of specs `name type-letter comment`; without a comment the shared one is meant."""
    columns = []
    for spec in specs:
        name, letter, *words = spec.split(" ")
        comment = " ".join(words) or _COMMENTS[name]
        columns.append(Column(name, _TYPES[letter], comment))
    return tuple(columns)


_STUDIES = Table(
    "studies",
    "Studies as they were registered; one row per study and content.",
    _columns(
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
    _columns(
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
    _columns(
        "sae v",
        "sae_hash v",
        "source v",
        "source_hash v",
        "model v",
        "weights v",
        "weights_seed b",
        "site v",
        "layer b",
        "recipe v name of the recipe",
        "architecture v architecture of the recipe",
        "seed b seed of initialisation and of every draw inside the SAE",
        "data_seed b seed of the data order",
        "n_latents b f: number of latents",
        "k b active latents per token, where the architecture fixes them",
        "width b",
        "tokens b training tokens seen",
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
    ),
    ("sae", "sae_hash"),
)
_TRAINING_CURVE = Table(
    "training_curve",
    "How training went: losses and rates by step.",
    _columns(
        "sae v",
        "sae_hash v",
        "step b optimiser step at the end of the interval",
        "tokens b training tokens seen by then",
        "metric v name of the quantity, averaged over the interval",
        "value d its value",
    ),
    ("sae", "sae_hash"),
)
_METRICS = Table(
    "metrics",
    "Held-out metrics, long form: one row per SAE and metric.",
    _columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "metric v",
        "metric_version b",
        "value d",
        "ci_low d",
        "ci_high d",
        "n b tokens, latents or pairs the value rests on",
        "reason v",
    ),
    ("sae", "sae_hash", "metric"),
)
_LATENTS = Table(
    "latents",
    "Every latent of every SAE, measured on held-out text.",
    _columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "latent b index of the latent, from 0",
        "firing_frequency d share of held-out tokens on which it is active",
        "n_fires b held-out tokens on which it is active",
        "mean_activation d mean over the tokens on which it is active, in raw units",
        "max_activation d largest activation, in raw units",
        "is_dead_eval o never active on the held-out tokens",
        "is_dead_train o not active within the dead window at the end of training",
        "decoder_norm d norm of its decoder row",
        "encoder_decoder_cosine d cosine of its encoder and decoder rows",
    ),
    ("sae", "sae_hash"),
)
_DICTIONARY_MATCHES = Table(
    "dictionary_matches",
    "How alike two dictionaries are: mean max cosine similarity (MMCS), both ways.",
    _columns(
        "sae_a v",
        "sae_a_hash v",
        "sae_b v",
        "sae_b_hash v",
        "pair v other_seed, other_weights or other_width: in what the two differ",
        "mmcs_ab d mean over a's live latents of the best cosine in b",
        "mmcs_ba d mean over b's live latents of the best cosine in a",
        "mmcs_all_ab d the same over all latents of a",
        "mmcs_all_ba d the same over all latents of b",
        "n_alive_a b live latents of a",
        "n_alive_b b live latents of b",
        "mmcs_null_ab d mmcs_ab expected for random directions in place of b",
    ),
    ("sae_a", "sae_a_hash", "sae_b", "sae_b_hash", "pair"),
)
_LATENT_MATCHES = Table(
    "latent_matches",
    "Each latent's best match in another dictionary.",
    _columns(
        "sae_a v",
        "sae_a_hash v",
        "latent_a b index of the latent",
        "sae_b v",
        "sae_b_hash v",
        "latent_b b index of its best match",
        "cosine d cosine of the two directions",
    ),
    ("sae_a", "sae_a_hash", "sae_b", "sae_b_hash"),
)
_SHUFFLE_QUALITY = Table(
    "shuffle_quality",
    "Whether a store's rows are in uniformly random order.",
    _columns(
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
)
_COMPARISONS = Table(
    "comparisons",
    "Trained against random, paired on the same documents: a (trained) minus b (random).",
    _columns(
        "sae_a v",
        "sae_a_hash v",
        "sae_b v",
        "sae_b_hash v",
        "metric v",
        "difference d value of a minus value of b",
        "ci_low d",
        "ci_high d",
        "n b documents resampled",
        "level v what was resampled: documents (given these seeds), ...",
        "reason v",
    ),
    ("sae_a", "sae_a_hash", "sae_b", "sae_b_hash", "metric"),
)
COMMITS = Table(
    "commits",
    "Finished runs: rows of other tables show only when their run is here.",
    _columns(
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
        _METRICS,
        _LATENTS,
        _DICTIONARY_MATCHES,
        _LATENT_MATCHES,
        _SHUFFLE_QUALITY,
        _COMPARISONS,
        COMMITS,
    )
}

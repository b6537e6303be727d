"""An evaluation's rows for the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.histogram_columns import histogram_columns
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.tables import DocumentTables
from sae_core.metrics import definitions
from sae_core.metrics.definition import Measured

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, object]


def metric_rows(evaluation: Evaluation, measured: Mapping[str, Measured]) -> list[Row]:
    """One row of `metrics` per number."""
    versions = {definition.name: definition.version for definition in definitions()}
    return [
        {
            "sae": evaluation.sae,
            "sae_hash": evaluation.sae_hash,
            "evaluation_hash": evaluation.evaluation_hash,
            "metric": name,
            "metric_version": versions[name],
            **vars(found),
        }
        for name, found in measured.items()
    ]


def latent_rows(evaluation: Evaluation, found: DocumentTables) -> pyarrow.Table:
    """One row of `latents` per latent."""
    import pyarrow as pa

    latents = found.latents
    f = len(latents.n_fires)
    fires = latents.n_fires
    mean = np.divide(latents.sum_values, fires, out=np.zeros(f), where=fires > 0)
    silent = fires == 0
    dead_train = latents.dead_train
    return pa.table(
        {
            **repeated(evaluation, f),
            "latent": pa.array(np.arange(f), pa.int64()),
            "firing_frequency": pa.array(latents.firing_frequency, pa.float64()),
            "n_fires": pa.array(fires, pa.int64()),
            "mean_activation": pa.array(mean, pa.float64(), mask=silent),
            "max_activation": pa.array(latents.max_value, pa.float64(), mask=silent),
            "is_dead_eval": pa.array(silent, pa.bool_()),
            "is_dead_train": pa.array(
                np.zeros(f, bool) if dead_train is None else dead_train,
                pa.bool_(),
                mask=np.full(f, dead_train is None),
            ),
            "decoder_norm": pa.array(latents.decoder_norm, pa.float64()),
            "encoder_decoder_cosine": pa.array(
                latents.encoder_decoder_cosine,
                pa.float64(),
                mask=np.isnan(latents.encoder_decoder_cosine),
            ),
            **_token_columns(found.tallies.get("token_statistics"), f),
            **_geometry_columns(found.tallies["dictionary_geometry"]),
            **histogram_columns(found.tallies.get("activation_histogram"), f),
        }
    )


def repeated(evaluation: Evaluation, n: int) -> dict[str, pyarrow.Array]:
    """The columns that are the same in all n rows of an evaluation."""
    import pyarrow as pa

    names = ("sae", "sae_hash", "evaluation_hash")
    return {name: pa.array([getattr(evaluation, name)] * n, pa.string()) for name in names}


def _token_columns(tally: Mapping[str, np.ndarray] | None, f: int) -> dict[str, pyarrow.Array]:
    import pyarrow as pa

    names = ("token_entropy", "top_token", "top_token_share")
    if tally is None:  # measured on what are no tokens
        types = (pa.float64(), pa.int64(), pa.float64())
        return {name: pa.nulls(f, type_) for name, type_ in zip(names, types, strict=True)}
    silent = tally["n_fires"] == 0
    return {name: pa.array(tally[name], mask=silent) for name in names}


def _geometry_columns(tally: Mapping[str, np.ndarray]) -> dict[str, pyarrow.Array]:
    import pyarrow as pa

    alone = tally["nearest"] < 0
    return {
        "max_cosine": pa.array(tally["max_cosine"], pa.float64(), mask=alone),
        "nearest_latent": pa.array(tally["nearest"], pa.int64(), mask=alone),
        "min_cosine": pa.array(tally["min_cosine"], pa.float64(), mask=alone),
        "opposing_latent": pa.array(tally["most_opposing"], pa.int64(), mask=alone),
    }
